"""The compat module of each library: a script's output with it, the reported lines, and its error without it."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from importlib import import_module

import numpy
import pytest


@dataclass
class Old:
    """Old code; its output under --compat; the old names that are reported. Without --compat it may still run."""

    code: str
    prints: str
    said: tuple[str, ...]
    needs: str = "numpy"


TABLE = {
    "aliases": Old(
        "import numpy as np\nprint(np.zeros(2, np.int), np.array([1], np.float), np.object, np.str, np.complex(1))",
        "[0 0] [1.] <class 'object'> <class 'str'> (1+0j)\n",
        ("numpy.int", "numpy.float", "numpy.object", "numpy.str", "numpy.complex"),
    ),
    "a name imported": Old("from numpy import int\nprint(int)", "<class 'int'>\n", ("numpy.int",)),
    "NumPy 2": Old(
        "import numpy as np\nprint(np.float_ is np.float64, np.Inf, np.NaN, np.product([2, 3]), np.alltrue([1]))",
        "True inf nan 6 True\n",
        ("numpy.float_", "numpy.Inf", "numpy.NaN", "numpy.product", "numpy.alltrue"),
    ),
    "functions": Old(
        "import numpy as np\nprint(np.in1d([[1, 2]], [2]), np.asscalar(np.array([3])), np.msort([[2], [1]]).tolist(),\n"
        "      np.asfarray([1]), np.rank([[1]]), np.trapz([1, 3]))",
        "[False  True] 3 [[1], [2]] [1.] 2 2.0\n",
        ("numpy.in1d", "numpy.asscalar", "numpy.msort", "numpy.asfarray", "numpy.rank", "numpy.trapz"),
    ),
    "fromstring": Old(
        "import numpy as np\na = np.fromstring(b'abcd', dtype=np.uint8)\na[0] = 7\n"
        "print(a, np.fromstring('ab', 'u1'), np.fromstring('', 'u1'), np.fromstring(b'abc', 'u1', 2),\n"
        "      np.fromstring('1 2', sep=' '), np.fromstring('3,4', int, 1, ','))",
        "[  7  98  99 100] [97 98] [] [97 98] [1. 2.] [3]\n",
        ("np.fromstring of bytes",),
    ),
    "tostring": Old(
        "import numpy as np\nprint(np.arange(3, dtype='u1').tostring(), np.eye(2, dtype='u1')[:, :1].tostring('F'),\n"
        "      np.uint8(5).tostring(), np.ma.masked_array([1], dtype='u1').tostring())",
        "b'\\x00\\x01\\x02' b'\\x01\\x00' b'\\x05' b'\\x01'\n",
        ("array.tostring",),
    ),
    "methods": Old(
        "import numpy as np\na = np.array([[1, 2], [3, 5]])\na.itemset(0, 9)\na.itemset((1, 1), 8)\n"
        "print(a.tolist(), a.ptp())\nb = np.array([1], '<i2')\nb.itemset(2)\nprint(b, b.newbyteorder())",
        "[[9, 2], [3, 8]] 7\n[2] [512]\n",
        ("array.itemset", "array.ptp", "array.newbyteorder"),
    ),
    "printing": Old(
        "import numpy as np\nnp.set_printoptions(threshold='nan')\nnp.set_printoptions(precision=3, threshold=np.nan)\n"
        "print('...' in str(np.zeros(5000)))\nnp.set_printoptions(threshold=5)\nprint('...' in str(np.zeros(5000)))",
        "False\nTrue\n",
        ("np.set_printoptions(threshold='nan')", "np.set_printoptions(threshold=nan)"),
    ),
    "yaml": Old(
        "import yaml\nprint(yaml.load('a: [1, 2]'), yaml.load('b: 1', yaml.SafeLoader))\n"
        "print(list(yaml.load_all('--- 1\\n--- 2')))\n"
        "try:\n    yaml.load('!!python/object/apply:os.system [exit]')\nexcept yaml.YAMLError:\n    print('refused')",
        "{'a': [1, 2]} {'b': 1}\n[1, 2]\nrefused\n",
        ("yaml.load without a loader", "yaml.load_all without a loader"),
        "yaml",
    ),
    "multichannel": Old(
        "import numpy as np\nimport skimage.transform as t\n"
        "print(t.rescale(np.zeros((4, 6, 3)), 0.5, multichannel=True).shape,\n"
        "      t.rescale(np.zeros((4, 6)), 0.5, multichannel=False).shape)",
        "(2, 3, 3) (2, 3)\n",
        ("multichannel",),
        "skimage",
    ),
    "as_grey": Old(
        "import numpy as np\nimport skimage.io as io\n"
        "io.imsave('a.png', np.eye(2, 3, dtype=np.uint8)[..., None] * np.full(3, 255, np.uint8))\n"
        "print(io.imread('a.png', as_grey=True).round(9).tolist(), io.imread('a.png').shape)",
        "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] (2, 3, 3)\n",
        ("skimage.io.imread(as_grey=)",),
        "skimage",
    ),
    "files of scipy.misc": Old(
        "import numpy as np\nfrom scipy.misc import imread, imsave\nfrom scipy import misc\nimport scipy.ndimage\n"
        "imsave('a.png', np.arange(12, dtype=np.uint8).reshape(2, 2, 3))\nprint(imread('a.png').tolist(),\n"
        "      misc.imread('a.png', flatten=True).dtype, scipy.ndimage.imread('a.png').shape)",
        "[[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]] float32 (2, 2, 3)\n",
        ("scipy.misc.imsave", "scipy.misc.imread", "scipy.ndimage.imread"),
        "scipy PIL",
    ),
    "Pillow": Old(
        "from PIL import Image, ImageDraw, ImageFont\nim = Image.new('L', (4, 4), 9).resize((2, 1), Image.ANTIALIAS)\n"
        "w, h = ImageDraw.Draw(im).textsize('word', font=ImageFont.load_default())\nprint(im.tostring(), w > h > 0)\n"
        "print(ImageFont.load_default().getsize('word') == (w, h), Image.fromstring('L', (1, 1), b'a').size)",
        "b'\\t\\t' True\nTrue (1, 1)\n",
        ("PIL.Image.ANTIALIAS", "ImageDraw.textsize", "Image.tostring", "ImageFont.getsize", "PIL.Image.fromstring"),
        "PIL",
    ),
    "OpenCV": Old(
        "import cv2\nprint(cv2.CV_LOAD_IMAGE_COLOR == cv2.IMREAD_COLOR, cv2.CV_AA == cv2.LINE_AA)",
        "True True\n",
        ("cv2.CV_LOAD_IMAGE_COLOR", "cv2.CV_AA"),
        "cv2",
    ),
    "h5py": Old(
        "import h5py\nwith h5py.File('a.h5', 'w') as f:\n    f['x'] = [1, 2]\nf = h5py.File('a.h5', 'r')\n"
        "print(f['x'].value)\nf.close()\nf = h5py.File('a.h5')\nf['y'] = 1\nprint(len(f))",
        "[1 2]\n2\n",
        ("h5py.File without a mode", "h5py's dataset.value"),
        "h5py",
    ),
    "matplotlib": Old(
        "import matplotlib.pyplot as plt\nimport matplotlib.cm as cm\nplt.hold(True)\nprint(cm.get_cmap('jet').name)",
        "jet\n",
        ("matplotlib.pyplot.hold", "matplotlib.cm.get_cmap"),
        "matplotlib",
    ),
    "modules": Old(
        "import cPickle as pickle, Queue, urllib2, ConfigParser\nfrom StringIO import StringIO\n"
        "import xml.etree.cElementTree as ET\nprint(pickle.__name__, Queue.Queue.__name__, urllib2.urlopen.__name__)\n"
        "print(StringIO('a').read(), StringIO(b'b').read(), ET.fromstring('<a/>').tag)",
        "pickle Queue urlopen\na b'b' a\n",
        *(
            (
                tuple(
                    f"module {name}"
                    for name in ("cPickle", "Queue", "urllib2", "ConfigParser", "xml.etree.cElementTree")
                ),
            )
        ),
    ),
    "standard names": Old(
        "import collections, inspect, itertools, time, urllib, sys, string\nfrom fractions import gcd\n"
        "print(collections.Mapping.__name__, gcd(4, 6), time.clock() >= 0, list(itertools.izip('a', 'b')))\n"
        "print(inspect.getargspec(lambda a, b=1: a).args, urllib.quote('a b'), string.letters[:2], sys.maxint > 9)",
        "Mapping 2 True [('a', 'b')]\n['a', 'b'] a%20b ab True\n",
        ("collections.Mapping", "fractions.gcd", "time.clock", "itertools.izip", "sys.maxint", "inspect.getargspec"),
    ),
    "built-in names": Old(
        "print(list(xrange(3)), reduce(lambda a, b: a + b, [1, 2]), unichr(97), isinstance('a', basestring), long(2))",
        "[0, 1, 2] 3 a True 2\n",
        ("xrange", "reduce", "unichr"),
    ),
}


def is_gone(what: str) -> bool:
    """Return whether this version of a library no longer has it."""
    module, _, name = what.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return not hasattr(numpy.ndarray if module == "array" else import_module(module or "builtins"), name)
        except ModuleNotFoundError:
            return True


@pytest.mark.parametrize("old", TABLE.values(), ids=TABLE.keys())
def test_it_runs_and_says_what_is_old(run, old):
    for package in old.needs.split():
        pytest.importorskip(package)
    done = run(f"import warnings\nwarnings.simplefilter('ignore')\n{old.code}", "--compat")
    assert (done.returncode, done.stdout) == (0, old.prints), done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("caffe-lite run --compat: script.py:") for line in lines), done.stderr
    said = [line.split(": ", 2)[2].partition(" is gone; today: ")[0] for line in lines]
    assert len(said) == len(set(said)), "each once"
    for what in old.said:
        assert (what in said) is is_gone(what)


@pytest.mark.parametrize("old", TABLE.values(), ids=TABLE.keys())
def test_without_it_the_error_leads_to_it(run, old):
    for package in old.needs.split():
        pytest.importorskip(package)
    done = run(old.code)
    if done.returncode:  # an older version of the library may still have everything
        last = "caffe-lite: caffe-lite run --compat gives back what today's packages lack here"
        assert done.stderr.splitlines()[-1] == last, done.stderr


def test_nothing_is_imported_that_the_script_does_not_import(run):
    heavy = ("numpy", "scipy", "skimage", "cv2", "h5py", "matplotlib", "yaml", "PIL", "google", "caffe_lite", "ctypes")
    done = run(f"import sys\nprint([name for name in {heavy} if name in sys.modules])", "--compat")
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_each_place_is_named_and_packages_are_passed_over(run, tmp_path):
    """Packages that probe their NumPy are not scripts of the user."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "package.py").write_text("import numpy\nname = numpy.int.__name__\n")
    (tmp_path / "beside.py").write_text("import numpy as np\n\nkind = np.float\nagain = np.float\n")
    done = run("import sys\nsys.path.append('site-packages')\nimport package, beside\nprint(package.name)", "--compat")
    assert done.stdout == "int\n", done.stderr
    assert done.stderr == "caffe-lite run --compat: beside.py:3: numpy.float is gone; today: float\n"


def test_children_have_it(run, tmp_path):
    (tmp_path / "child.py").write_text("import numpy as np\nprint(np.zeros(1, np.int).tostring() == b'\\0' * 8)\n")
    done = run(f"import subprocess\nsubprocess.run([{sys.executable!r}, 'child.py'], check=True)", "--compat")
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_what_today_has_stays_todays(run):
    """Existing names and the script's own errors stay, and there is no hint about either."""
    code = "import numpy as np\nprint(np.fromiter([1], float), np.uint8)\ntry:\n    np.nothing\n"
    done = run(f"{code}except AttributeError as e:\n    print(e)\nnp.zeros(2).xyz", "--compat")
    assert done.stdout == "[1.] <class 'numpy.uint8'>\nmodule 'numpy' has no attribute 'nothing'\n"
    assert done.stderr.splitlines()[-1] == "AttributeError: 'numpy.ndarray' object has no attribute 'xyz'"
    assert run("import numpy\nnumpy.nothing").stderr.splitlines()[-1].startswith("AttributeError: ")
