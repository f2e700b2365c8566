from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from .conftest import command, environment


def plain_python(folder, *arguments):
    """What Python itself does with the script."""
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
    first, second, *_, last = result.stderr.splitlines()
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
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere.py"], 1, "nowhere.py: there is no such script"),
        (["train_lmdb"], 1, "train_lmdb: it cannot be read"),
        ([], 2, "required: SCRIPT"),
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
