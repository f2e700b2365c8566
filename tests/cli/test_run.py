from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from .conftest import ROOT, command, environment

CAFFE = (
    "import caffe, caffe.io\nfrom caffe.proto import caffe_pb2\n"
    "print('child', caffe.Net.__module__[:10], caffe.io.__name__)\n"
)


def plain_python(folder, *arguments):
    """Run the script in Python itself."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def test_a_script_of_pycaffes(caffe, folder):
    (folder / "script.py").write_text("""\
import caffe
from caffe.proto import caffe_pb2
from google.protobuf import text_format

caffe.set_mode_cpu()
caffe.set_random_seed(1)
solver = caffe.SGDSolver("solver.prototxt")
solver.step(5)
net = caffe_pb2.NetParameter()
text_format.Merge(open("net.prototxt").read(), net)
print(solver.iter, solver.net.blobs["data"].data.shape, len(net.layer))
""")
    result = caffe("run", "script.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "5 (8, 1, 3, 4) 7\n"
    assert "] Iteration 0 (" in result.stderr, "the log, as pycaffe shows it"


@pytest.mark.parametrize("level", ["2", None])
def test_a_script_may_silence_the_log(caffe, folder, level):
    silence = f'os.environ["GLOG_minloglevel"] = "{level}"' if level else ""
    (folder / "script.py").write_text(
        f'import os\n{silence}\nimport caffe\ncaffe.Net("net.prototxt", caffe.TEST).close()\n'
    )
    result = caffe("run", "script.py")
    assert result.returncode == 0, result.stderr
    assert bool(result.stderr) is (level is None)


def test_its_arguments_name_and_folder(caffe, folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "beside.py").write_text("here = 'found'\n")
    code = "import sys\nimport beside\nprint(__name__, __file__, sys.argv, beside.here, sys.modules['__main__'].sys)\n"
    (folder / "sub" / "script.py").write_text(code)
    words = ["sub/script.py", "a", "--traceback", "-max_iter=5", "--", "--help", "run", "-x", ""]
    result = caffe("run", *words)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == plain_python(folder, *words).stdout
    assert "'--traceback', '-max_iter=5', '--', '--help', 'run', '-x', ''" in result.stdout


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys\nsys.exit(7)", 7),
        ("raise SystemExit('stopped')", 1),
        ("def f():\n    return 1 / 0\n\n\nf()", 1),
        ("try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error", 1),
        ("a = (\n", 1),
        ("pass\nb = 'e\u0301' +\n", 1),
        ("# coding: latin-1\nprint(len('\xe9'))", 0),
        ("import atexit\nx = 5\natexit.register(lambda: print(x))", 0),
        ("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)", 0),
    ],
)
def test_its_end_is_as_pythons(caffe, folder, code, status):
    (folder / "script.py").write_text(code, encoding="utf-8")
    result, expected = caffe("run", "script.py"), plain_python(folder, "script.py")
    assert result.returncode == expected.returncode == status
    assert result.stdout == expected.stdout
    assert result.stderr == expected.stderr


def test_errors_of_ours_that_it_does_not_catch_have_its_traceback(caffe, folder):
    (folder / "script.py").write_text('import caffe\ncaffe.Net("nowhere.prototxt", caffe.TEST)\n')
    result = caffe("run", "script.py")
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if "] Memory that is freed stays" not in line]  # glibc only
    first, second, *_, last = lines
    assert first == "Traceback (most recent call last):"
    assert second == f'  File "{folder / "script.py"}", line 2, in <module>'
    assert "nowhere.prototxt: there is no such file" in last


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_is_the_scripts(folder):
    (folder / "script.py").write_text("import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        command("run", "script.py"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.py"], 1, "nowhere.py: there is no such script"),
        (["train_lmdb"], 1, "can't find '__main__' module in"),
        ([], 2, "what is to run is required: SCRIPT, NOTEBOOK, -m MODULE"),
        (["--compt", "script.py"], 2, "unknown argument --compt. Did you mean --compat?"),
    ],
)
def test_no_script(caffe, words, status, message):
    result = caffe("run", *words)
    assert result.returncode == status
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_python_layers_may_import_caffe_under_every_command(caffe, folder):
    (folder / "mine.py").write_text("""\
import caffe


class Double(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data
""")
    layer = (
        'layer { name: "d" type: "Python" bottom: "label" top: "d" python_param { module: "mine" layer: "Double" } }'
    )
    (folder / "net.prototxt").write_text((folder / "net.prototxt").read_text() + layer)
    result = caffe("time", "--model", "net.prototxt", "--phase", "TEST", "--iterations", "1")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "import sys; print(__name__, sys.argv, sys.path, sys.flags)", "-x"],
        ["-u", "-W", "error", "-c", "import sys, warnings; print(sys.flags, sys.warnoptions)"],
        ["-m", "package.inner", "a"],
        ["-m", "package"],
        ["package", "a", "--cpu"],
        ["package.zip"],
        ["-c", "import pickle, sys\nclass A: pass\nprint(pickle.loads(pickle.dumps(A())).__class__ is A); sys.exit(4)"],
        ["-m", "nowhere"],
    ],
)
def test_all_that_python_runs(caffe, folder, words):
    package = folder / "package"
    package.mkdir()
    code = "import sys\nprint(__name__, __file__, __package__, sys.argv, sys.path)\n"
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(f"from . import __name__ as package\nprint(package)\n{code}")
    (package / "__main__.py").write_text(code)
    with zipfile.ZipFile(folder / "package.zip", "w") as file:
        file.write(package / "__main__.py", "__main__.py")
    result, expected = caffe("run", *words), plain_python(folder, *words)
    assert (result.returncode, result.stdout, result.stderr) == (expected.returncode, expected.stdout, expected.stderr)


def test_standard_input_and_the_prompt_after_a_script(folder):
    (folder / "script.py").write_text("import caffe\nx = 5\n")
    for words, text in (
        (["-"], "import caffe\nprint(caffe.Net.__module__[:10])"),
        (["-i", "script.py"], "x, caffe.Net.__module__"),
    ):
        done = subprocess.run(
            command("run", *words),
            input=text,
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        assert "caffe_lite" in done.stdout


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, 'child.py'], check=True)",
        "subprocess.run(['python', 'child.py'], check=True)",
        "assert os.system('python child.py') == 0",
        "subprocess.run([sys.executable, '-c', open('child.py').read()], check=True)",
        "os.chdir('..'); subprocess.run([sys.executable, os.path.join(here, 'child.py')], check=True)",
        "subprocess.run([sys.executable, '-c', 'import os; os.system(\"python child.py\")'], check=True)",
    ],
)
def test_its_children_know_caffe(caffe, folder, start):
    (folder / "child.py").write_text(CAFFE)
    (folder / "caffe.py").write_text("raise ImportError('another caffe')\n")
    (folder / "script.py").write_text(f"import os, subprocess, sys\nhere = os.getcwd()\n{start}\n")
    result = caffe("run", "script.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "child caffe_lite caffe_lite.io\n"


POOLS = """\
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import caffe


class Box:
    def __init__(self, width):
        self.width = width


def work(box):
    return Box(box.width + len(caffe.Net("net.prototxt", caffe.TEST).params)), caffe.Net.__module__[:10]


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print([(box.width, name) for box, name in pool.map(work, [Box(1), Box(2)])])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        print([(box.width, name) for box, name in pool.map(work, [Box(3)])])
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_pools_of_processes(caffe, folder, method):
    (folder / "script.py").write_text(POOLS)
    result = caffe("run", "script.py", method)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[(3, 'caffe_lite'), (4, 'caffe_lite')]\n[(5, 'caffe_lite')]\n"


def test_no_other_caffe_gets_in_its_way(caffe, folder):
    unbuilt = folder / "opt" / "python"
    (unbuilt / "caffe" / "proto").mkdir(parents=True)
    (unbuilt / "caffe" / "__init__.py").write_text("from ._caffe import Net\n")
    (folder / "caffe").mkdir()
    (folder / "script.py").write_text(
        f"import sys\nsys.path.insert(0, {str(unbuilt)!r})\nimport caffe, caffe_lite\n"
        "from caffe import io\nprint(caffe.Net is caffe_lite.Net, io is caffe_lite.io)\n"
    )
    assert caffe("run", "script.py").stdout == "True True\n"


def test_what_is_on_pythonpath_stays_there_and_a_sitecustomize_runs(folder):
    (folder / "own").mkdir()
    (folder / "own" / "sitecustomize.py").write_text("import sys\nsys.own = __name__\n")
    (folder / "script.py").write_text(
        "import os, sys\nimport sitecustomize\nprint(sys.own, sitecustomize.__file__, sys.path)\n"
        "sys.exit(os.system(f'{sys.executable} other.py') if sys.argv[1:] else 0)\n"
    )
    (folder / "other.py").write_text((folder / "script.py").read_text())
    env = environment() | {"PYTHONPATH": os.pathsep.join([str(folder / "own"), str(ROOT)])}
    run, plain = (
        subprocess.run([*words, "script.py", "x"], cwd=folder, env=env, capture_output=True, text=True, check=True)
        for words in (command("run"), [sys.executable])
    )
    assert run.stdout == plain.stdout
    assert run.stdout.count(f"sitecustomize {folder / 'own' / 'sitecustomize.py'}") == 2


def test_caffe_lite_is_the_one_that_runs_it_wherever_it_lies(folder):
    """Child processes find it, although neither their folder nor PYTHONPATH leads there."""
    (folder / "script.py").write_text("import caffe\nprint(caffe.__file__)\n")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from caffe_lite.cli import main; main(['run', 'script.py'])"
    env = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{ROOT / 'caffe_lite' / '__init__.py'}\n"


GPU = (
    "import caffe\ncaffe.set_device(3)\ncaffe.set_mode_gpu()\nprint(caffe.Net('net.prototxt', caffe.TEST).forward())\n"
)


def test_on_the_cpu_what_asks_for_a_gpu(caffe, folder):
    (folder / "child.py").write_text(GPU)
    (folder / "script.py").write_text(f"{GPU}import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'])\n")
    result = caffe("run", "--cpu", "script.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("loss") == 2
    warnings = [line for line in result.stderr.splitlines() if "UserWarning" in line]
    assert [line.partition(": ")[0] for line in warnings] == [f"{folder / 'script.py'}:2", f"{folder / 'child.py'}:2"]
    assert "set_mode_gpu and set_device do nothing: the CPU computes" in warnings[0]


def test_a_gpu_that_is_not_there_leads_to_the_option(caffe, folder):
    pytest.importorskip("torch")
    (folder / "script.py").write_text("import caffe\ncaffe.set_device(999)\n")
    result = caffe("run", "script.py")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "caffe-lite: with caffe-lite run --cpu, set_mode_gpu and set_device warn, and the CPU computes"
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [("pass", 0), ("1/0", 1), ("a = (", 1), ("import sys\nsys.exit(3)", 3)],
)
def test_a_notebook(caffe, folder, code, status):
    pytest.importorskip("IPython")
    pytest.importorskip("nbformat")
    cells = [
        "%matplotlib inline\nimport caffe\nimport os, sys\nsys.path.insert(0, '/opt/caffe/python')",
        "!echo from the shell",
        "%%time\nx = [1]\nx.append(2)",
        "%cd ..\nx",
        "import pickle\nclass A: pass\nprint(__name__, type(pickle.loads(pickle.dumps(A()))) is A, sys.argv)",
        "print(get_ipython().user_ns['x'] is x, caffe.Net.__module__[:10])",
        code,
        "print('the end')",
    ]
    (folder / "sub").mkdir()
    (folder / "sub" / "look.ipynb").write_text(json.dumps(notebook(cells)))
    result = caffe("run", "sub/look.ipynb", "a")
    assert result.returncode == status, result.stderr
    lines = [line for line in result.stdout.splitlines() if "time" not in line]
    assert lines[:5] == [
        *("from the shell", str(folder), "Out[4]: [1, 2]", "__main__ True ['sub/look.ipynb', 'a']", "True caffe_lite"),
    ]
    assert lines[5:] == (["the end"] if status == 0 else [])
    assert ("ZeroDivisionError: division by zero" in result.stderr) is (code == "1/0")
    assert bool(result.stderr) is (status == 1)


def notebook(cells: list[str]) -> dict:
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# A title"]}
    code = [
        {"cell_type": "code", "metadata": {}, "source": cell, "outputs": [], "execution_count": None} for cell in cells
    ]
    return {"cells": [text, *code], "metadata": {}, "nbformat": 4, "nbformat_minor": 2}


def test_a_notebook_without_what_runs_it(folder):
    (folder / "look.ipynb").write_text(json.dumps(notebook(["x = 1"])))
    (folder / "IPython.py").write_text("")
    code = "import sys; from caffe_lite.cli import main; sys.modules['nbformat'] = None; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "look.ipynb"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nbformat is needed to run notebooks and is not installed" in done.stderr
    assert "pip install 'caffe-lite[notebook]'" in done.stderr


def test_commands_that_it_starts_stay_on_the_cpu(caffe, folder):
    command = (
        "[sys.executable, '-m', 'caffe_lite', 'time', '--model', 'net.prototxt', '--iterations', '1', '--gpu', '0']"
    )
    (folder / "script.py").write_text(f"import subprocess, sys\nsubprocess.run({command}, check=True)\n")
    result = caffe("run", "--cpu", "script.py")
    assert result.returncode == 0, result.stderr
    assert "] Use CPU." in result.stderr
    assert "Use GPU" not in result.stderr
