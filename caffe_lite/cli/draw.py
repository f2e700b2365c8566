"""Draw a net as SVG, or as an HTML page to look around in; as other formats with pydot and graphviz."""

from __future__ import annotations

import argparse
import sys

from ..errors import CaffeError
from ..proto.prototxt import read_net
from .arguments import Parser, add_state, add_switch, phase_of


def add_arguments(parser: Parser) -> None:
    from ..drawing.svg import RANKDIRS

    parser.add_argument("net", metavar="NET", help="the net; its data may be absent")
    parser.add_argument("out", metavar="OUT", help="the file: .svg, .html, or what graphviz can write (.png, ...)")
    what = "default TRAIN; ALL draws the layers of every state, without shapes"
    parser.add_argument("--phase", choices=("TRAIN", "TEST", "ALL"), default="TRAIN", type=str.upper, help=what)
    add_state(parser)
    what = "where the net runs to: TB (down, the default), BT, LR or RL"
    parser.add_argument("--rankdir", choices=RANKDIRS, default="TB", type=str.upper, help=what)
    add_switch(parser, "display-lrm", "tell the learning rate's multiplier of layers with weights")


def run(arguments: argparse.Namespace) -> int:
    from ..draw import write_picture

    net = read_net(arguments.net)
    phase = None if arguments.phase == "ALL" else phase_of(arguments)
    problems = write_picture(
        net, arguments.out, arguments.rankdir, phase, arguments.display_lrm, arguments.level, arguments.stage
    )
    _tell(problems)
    print(f"Drawing net to {arguments.out}")
    return 0


def _tell(problems: list[CaffeError]) -> None:
    for problem in problems:
        print(f"caffe-lite: {problem}", file=sys.stderr)
