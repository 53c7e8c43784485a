from beam_pipeline.commands.entries import print_entries


def test_names_and_texts_stand_in_two_columns(capsys):
    print_entries([("a", "one"), ("longer", "two words")])
    assert capsys.readouterr().out == "a       one\nlonger  two words\n"
