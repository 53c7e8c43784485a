from training.errors import JobFailed, UserError


def test_a_wrong_call_and_a_failed_job_have_exit_statuses_of_their_own():
    assert (UserError("a").exit_status, UserError("a", 3).exit_status, JobFailed("a").exit_status) == (2, 3, 1)
