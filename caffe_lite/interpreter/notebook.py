"""Runs the code cells of a notebook, in order, as IPython does: started by `caffe-lite run notebook.ipynb`."""

from __future__ import annotations

import os
import sys
import warnings


def main(path: str) -> int:
    """Run the cells up to the first that fails, in the notebook's folder, as Jupyter does; return the exit status.

    The cells share one `__main__`. The value of a cell's last line is printed; errors go to standard error.
    """
    import nbformat
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from caffe_lite.interpreter.hints import tell

    class Shell(InteractiveShell):
        def ask_exit(self) -> None:
            raise SystemExit

        def enable_gui(self, gui: str | None = None) -> None:
            pass  # nobody would look at the windows

        def _showtraceback(self, kind: object, error: object, lines: list[str]) -> None:
            if kind is not SystemExit:
                print(self.InteractiveTB.stb2text(lines), file=sys.stderr)

    warnings.filterwarnings("ignore", "To exit: use 'exit'")  # IPython says so when a script simply ends
    config = Config()
    config.HistoryManager.enabled = False
    if not sys.stderr.isatty():
        config.InteractiveShell.colors = "NoColor"
    cells = nbformat.read(path, as_version=4).cells
    os.chdir(os.path.dirname(os.path.abspath(path)))
    sys.path[0] = os.getcwd()
    shell = Shell.instance(config=config)
    for cell in cells:
        if cell.cell_type != "code":
            continue
        result = shell.run_cell(cell.source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, SystemExit):
            raise error
        if error is not None:
            tell(error)
            return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


if __name__ == "__main__":
    del sys.argv[0]
    sys.exit(main(sys.argv[0]))
