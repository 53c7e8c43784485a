"""No file that is read can become code: nothing in the packages unpickles, evaluates, builds or gives to a shell."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "beam_pipeline").rglob("*.py"), *(ROOT / "training").rglob("*.py")])
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
FUNCTIONS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
# Of Keras and TensorFlow, from a file to a model or to layers, which may hold code.
BUILDERS = {
    *("load_model", "model_from_json", "model_from_config", "from_config", "deserialize", "deserialize_keras_object"),
    *("enable_unsafe_deserialization", "saved_model", "SavedModel", "TFSMLayer", "import_graph_def", "py_function"),
}


def dangers(source: str) -> list[str]:
    """Python source -> what in it could make code of data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{one.name}" for one in node.names}
            if (node.module or "").split(".")[0] in MODULES or whole & FUNCTIONS:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
            # Our own load_model(spec, ...) builds the network and gives it weights; Keras' is called by its module.
            builds = isinstance(node.func, ast.Attribute) and node.func.attr in BUILDERS
            loads = called in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False"
            shell = keywords.get("shell", "False") != "False"
            if called in BUILTINS | FUNCTIONS or builds or loads or shell:
                found.append(called)
    return found


def found_in(find: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Finder in a source -> module of ours: what it finds there."""
    found = {str(path.relative_to(ROOT)): find(path.read_text(encoding="utf-8")) for path in SOURCES}
    return {name: what for name, what in found.items() if what}


def test_no_module_makes_code_of_data():
    # Blocks that wait between two steps of a job, unpickled only with the digest that they were written with.
    assert found_in(dangers) == {"beam_pipeline/runtime/grouping.py": ["pickle"]}


def test_processes_are_started_in_these_modules_alone():
    """So what a process may do is tested with them."""
    assert found_in(re.compile(r"subprocess\.(?:Popen|run|call|check_\w+)\(|os\.(?:exec|spawn|fork)\w*\(").findall) == {
        "beam_pipeline/runtime/isolated_process.py": ["subprocess.Popen("],
        "beam_pipeline/runtime/local_runner.py": ["subprocess.Popen("],
        "beam_pipeline/runtime/surroundings.py": ["os.execv("],  # captionbeam itself, with other settings of Python
        "training/scoring/java_metrics.py": ["subprocess.Popen("],
    }


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from yaml import load",
        "from os import system",
        "eval(text)",
        "os.popen(text)",
        "subprocess.run(text, shell=True)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "keras.models.load_model(path)",
        "keras.layers.Lambda.from_config(config)",
    ],
)
def test_what_makes_code_of_data_is_found(source):
    assert len(dangers(source)) == 1
