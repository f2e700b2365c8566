"""py-faster-rcnn's Python layers, for nets whose users have no copy of that code.

``MODULES`` names the modules of the original in prototxt files, and those here that stand for them.
"""

MODULES = {
    "rpn.proposal_layer": "proposal_layer",
    "rpn.anchor_target_layer": "anchor_target_layer",
    "rpn.proposal_target_layer": "proposal_target_layer",
    "roi_data_layer.layer": "roi_data_layer",
}
