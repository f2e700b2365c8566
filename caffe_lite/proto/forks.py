"""The fields and values that forks of Caffe add to BVLC's messages, with their numbers."""

from __future__ import annotations

import functools
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor

# The repositories, by the short names in the table.
FORKS = {
    "SSD": "weiliu89/caffe (SSD)",
    "Microsoft": "Microsoft/caffe (R-FCN)",
    "R-FCN": "daijifeng001/caffe-rfcn",
    "MNC": "daijifeng001/caffe-mnc",
    "cascade-rcnn": "zhaoweicai/cascade-rcnn",
    "SegNet": "alexgkendall/caffe-segnet",
    "ENet": "TimoSaemann/caffe-enet",
    "MobileNet-YOLO": "eric612/MobileNet-YOLO",
    "intel": "intel/caffe",
    "NVIDIA": "NVIDIA/caffe",
    "openvino": "openvinotoolkit/training_toolbox_caffe",
    "mini-caffe": "luoyetx/mini-caffe",
    "happynear": "happynear/caffe-windows",
    "synopsys": "foss-for-synopsys-dwc-arc-processors/synopsys-caffe",
    "yjxiong": "yjxiong/caffe",
    "naibaf7": "naibaf7/caffe",
    "caffe-face": "ydwen/caffe-face",
    "caffe-lstm": "junhyukoh/caffe-lstm",
    "warpctc-caffe": "xmfbit/warpctc-caffe",
    "flownet2": "lmb-freiburg/flownet2",
    "chuanqi305": "chuanqi305/ssd",
    "lisa-caffe": "LisaAnne/lisa-caffe-public",
    "CaffeOnSpark": "yahoo/CaffeOnSpark",
    "Xilinx": "Xilinx/Vitis-AI",
    "DepthwiseConvolution": "yonghenglh6/DepthwiseConvolution",
    "SENet": "hujie-frank/SENet",
    "ShuffleNet": "farmingyard/ShuffleNet",
    "HED": "s9xie/hed",
    "soeaver": "soeaver/caffe-model",
    "waifu2x": "lltcggie/caffe (waifu2x)",
    "AdamWR": "Yagami123/Caffe-AdamW-AdamWR",
}

# Fields that a fork repeats, by message and name, and the fields that hold what is given after the first.
REPEATED_BY_FORKS = {("TransformationParameter", "resize_param"): "further_resize_param"}


class ForkField(NamedTuple):
    """A field, or a value of an enum, that forks add: its key in the table, its numbers, and what happens to it.

    ``numbers`` has its number in each fork, 0 if only text files of the fork are known. An ``idle`` field changes no
    result, so it needs no reader. A ``read`` field is left to the layers or solvers that read it. Any other is refused
    unless the class of the layer or solver names the key in its ``reads_fork_fields``.
    """

    key: str
    numbers: dict[str, int]
    idle: bool
    read: bool

    @property
    def forks(self) -> str:
        """The names of the repositories that have it: three at most."""
        return _told(list(self.numbers))


def added_fields() -> dict[str, dict[str, ForkField]]:
    """Return, for each message or enum of BVLC, the fields or values that forks add."""
    return _parsed(TABLE)


@functools.cache
def _parsed(table: str) -> dict[str, dict[str, ForkField]]:
    added: dict[str, dict[str, ForkField]] = {}
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            owner, fields = line, added.setdefault(line, {})
            continue
        name, _, forks = line[4:].partition(": ")
        numbers: dict[str, int] = {}
        for part in forks.split(", "):
            words = part.split()
            number = int(words.pop(0)) if words[0].isdigit() else 0
            numbers.update(dict.fromkeys(words, number))
        fields[name] = ForkField(f"{owner}.{name}", numbers, line[2] == "-", line[2] == "+")
    return added


@functools.cache
def numbers_of(owner: str) -> dict[str, dict[str, int]]:
    """Return the numbers of the fields of a message, or the values of an enum, in each fork that has other ones."""
    numbers: dict[str, dict[str, int]] = {}
    for table in (TABLE, RENUMBERED):
        for name, field in _parsed(table).get(owner, {}).items():
            for fork, number in field.numbers.items():
                if number:
                    numbers.setdefault(fork, {})[name] = number
    return numbers


def forks_with_layer(type_name: str) -> str:
    """Return the names of the repositories that have a layer type which BVLC has not: three at most, "" if none."""
    return _told([fork for fork, types in fork_layers().items() if type_name in types])


def fork_layers() -> dict[str, list[str]]:
    """Return the layer types that each fork adds, by the fork's short name."""
    lines = (line.partition(": ") for line in LAYERS.replace("\n  ", " ").strip().splitlines())
    return {fork: types.split() for fork, _, types in lines}


def _told(forks: list[str]) -> str:
    return ", ".join(FORKS[fork] for fork in forks[:3]) + (" and others" if len(forks) > 3 else "")


def is_of_forks(owner: Descriptor | EnumDescriptor, name: str) -> bool:
    """Return whether a field of a message, or a value of an enum, is a fork's and not BVLC's."""
    return name in added_fields().get(owner.full_name.removeprefix(f"{owner.file.package}."), {})


# Fields of BVLC's that yjxiong's fork lets hold several values, as [0, 1]; the first one counts.
LISTS = frozenset({"SolverParameter.device_id"})

# The layer types that each fork adds.
LAYERS = """
SSD: AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox SmoothL1Loss VideoData
Microsoft: BoxAnnotatorOHEM PSROIPooling ROIPooling SmoothL1Loss SmoothL1LossOHEM SoftmaxWithLossOHEM
R-FCN: BoxAnnotatorOHEM PSROIPooling ROIPooling SmoothL1Loss
MNC: MaskPooling MaskResize ROIPooling ROIWarping SmoothL1Loss
cascade-rcnn: BboxAccuracy BoxGroupOutput DecodeBBox DetectionData DetectionEvaluate DetectionGroupAccuracy
  DetectionGroupLoss EvalData FrcnnOutput HardMining ProposalTarget PSROIPooling ROIAlign ROIPooling ScaleRoute
  SmoothL1Loss
SegNet: BN DenseImageData Upsample
ENet: BN DenseImageData Upsample
MobileNet-YOLO: AnnotatedData AssistedExcitation Axpy DepthwiseConvolution DetectionEvaluate DetectionOutput
  GaussianYolov3 LaneData MultiBoxLoss Normalize Permute PriorBox RegionLoss ReLU6 Reorg SegmentationEvaluate
  SmoothL1Loss Upsample YoloDetectionOutput YoloSeg Yolov3 Yolov3DetectionOutput
intel: AnnotatedData Axpy BoxAnnotatorOHEM BoxData DetectionEvaluate DetectionOutput EvalDetection MKLBatchNorm
  MnActivation MultiBoxLoss Normalize Permute PriorBox PSROIPooling RegionLoss Reorg ROIPooling SmoothL1Loss
  SmoothL1LossOHEM SoftmaxWithLossOHEM SpatialDropout VideoData
NVIDIA: AnnotatedData Axpy DetectionEvaluate DetectionOutput DetectNetTransformation L1Loss MultiBoxLoss Normalize
  Permute PriorBox SmoothL1Loss TRT VideoData
openvino: AnchorEmbeddingExtractor AnnotatedData ConvolutionDepthwise DetectionEvaluate DetectionOutput
  DetectionOutputExtended GRN LabelSpecificAdd MultiBoxLoss Normalize Permute PriorBox PriorBoxClustered ScaleFilter
  SmoothL1Loss
mini-caffe: BN ConvolutionDepthwise DetectionOutput Normalize Permute PriorBox Proposal PSROIPooling ROIPooling
  ShuffleChannel
happynear: Arccos Axpy BatchContrastiveLoss BN CenterLoss ChannelScale ConfidencePenaltyLoss CorrelationLoss Cosine
  FCNAccuracy Flip FocalLoss GeneralContrastiveLoss GeneralTripletLoss GlobalLSEMargin Gram Hotspot InnerDistance
  Insanity LabelSpecificAdd LargeMarginInnerProduct Local MarginInnerProduct MovingNormalize MultiLabelImageData
  NCALoss Noise Normalize Pairwise Permute PredictBox Proposal PSROIPooling Resize ROIPooling Slope SmoothL1Loss
  SoftContrastiveLoss SoftTruncation SubRegion Transformer TripletLoss Truncation
synopsys: Accum AdaptiveBiasChannel Add AnnotatedData Atan Attention BatchToSpaceND BEGANLoss BiasChannel
  BlackAugmentation BN BroadcastTo Ceil ChannelNorm ConvolutionDepthwise Corr1d Correlation Correlation1D CountNonzero
  CropAndResize DataAugmentation DenseCRF DenseImageData DepthToSpace DetectionEvaluate DetectionOutput Div
  DomainTransform DomainTransformForwardOnly Downsample EmbeddingLookup EmbeddingLookupSparse ExpandDimsND
  FarthestPointSample FloatReader FloatWriter Floor FloorDiv FloorMod FlowAugmentation FLOWriter FlowWarp GANLoss
  Gather GatherND GatherV2 Gemm GenerateAugmentationParameters GroupPoint GRU HardSigmoid HardSwish HardTanH
  ICNetSubgraph ImageSegData Interp L1Loss LayerNorm LogSoftmax LpNormalization LpqLoss LSTMV2 LuongAttention
  MaskRCNNDetection MaskRCNNProposal MatMul MatRead MatWrite Maximum Mean Minimum MirrorPad Mish Mul MultiBoxLoss NMS
  NMSGather NonMaxSuppression Normalize NotEqual OneHot Pad PeepholeLSTM Permute Piece Pooling3D Pow PriorBox Proposal
  PyramidROIAlign QueryBallPoint Range ReduceAll ReduceAny ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean
  ReduceMin ReduceProd ReduceSum Reorg Resample ResizeBilinear ResizeNearestNeighbor Reverse ReverseSequence RNNv2
  ROIAlign ROIPooling Round ScaledTanH ScatterND SegAccuracy SeLU SeLUDropout Shape ShuffleChannel SimpleRNN Sin
  SmoothL1Loss Softplus Softsign SpaceToBatchND SpaceToDepth SparseToDense SpatialBatchingPooling SpatialProduct
  Squeeze SqueezeConvolution SqueezeDeconvolution SqueezeInnerProduct SSDDecoder SSDSort Stack StridedSlice Sub
  Tensor2Box ThreeInterpolate ThreeNN ThresholdedReLU TileND TopkGather UniqueLabel Unstack Upsample UpsampleDarknet
  VideoData Where4 Where4Gathernd Where4GatherndCrop XLU YoloV2Loss YoloV3Loss
yjxiong: BatchReduction BN Gather Normalize ROIPooling Scatter SegData SmoothL1Loss SyncBN VideoData
naibaf7: Affinity ConnectedComponent DataRandTransform LibDNNConvolution LibDNNPooling MalisLoss MergeCrop MOE Noise
  Quantizer
caffe-face: CenterLoss
caffe-lstm: Lstm
warpctc-caffe: ContinuationIndicator CtcLoss LabelsequenceAccuracy Permute
flownet2: Accum BlackAugmentation ChannelNorm Correlation Correlation1D CustomData DataAugmentation DisparityData
  Downsample FLOWriter FloatReader FloatWriter FlowAugmentation FlowWarp GenerateAugmentationParameters ImgReader
  ImgWriter L1Loss LpqLoss Mean NegReLU PFMWriter Resample
chuanqi305: ReLU6
CaffeOnSpark: CoSData
DepthwiseConvolution: DepthwiseConvolution
SENet: Axpy
soeaver: SeLu SeLuDropout
ShuffleNet: ShuffleChannel
HED: ImageLabelmapData
waifu2x: CropCenter
"""

# As below, the other fields and values that have other numbers in forks than in our schema.
RENUMBERED = """
LossParameter.NormalizationMode
    NONE: 4 Microsoft R-FCN intel
DetectionEvaluateParameter
    overlap_threshold: 2 cascade-rcnn
    evaluate_difficult_gt: 3 cascade-rcnn
    name_size_file: 4 cascade-rcnn
LossParameter
    normalization: 5 ENet
ROIPoolingParameter
    pooled_size: 4 intel
LayerParameter
    recurrent_param: 151 NVIDIA, 134 lisa-caffe
    loss_param: 200 mini-caffe
    argmax_param: 201 mini-caffe
    batch_norm_param: 202 mini-caffe
    bias_param: 203 mini-caffe, 161 yjxiong
    concat_param: 205 mini-caffe
    convolution_param: 206 mini-caffe
    crop_param: 207 mini-caffe
    dropout_param: 208 mini-caffe
    eltwise_param: 209 mini-caffe
    elu_param: 210 mini-caffe
    embed_param: 211 mini-caffe, 132 lisa-caffe
    exp_param: 212 mini-caffe
    flatten_param: 213 mini-caffe
    inner_product_param: 214 mini-caffe
    input_param: 215 mini-caffe
    log_param: 216 mini-caffe
    lrn_param: 217 mini-caffe
    mvn_param: 218 mini-caffe
    parameter_param: 219 mini-caffe
    pooling_param: 220 mini-caffe
    power_param: 222 mini-caffe
    prelu_param: 223 mini-caffe
    reduction_param: 226 mini-caffe
    relu_param: 227 mini-caffe
    reshape_param: 228 mini-caffe
    scale_param: 230 mini-caffe, 160 yjxiong
    sigmoid_param: 231 mini-caffe
    softmax_param: 232 mini-caffe
    spp_param: 233 mini-caffe
    slice_param: 234 mini-caffe
    tanh_param: 235 mini-caffe
    threshold_param: 236 mini-caffe
    tile_param: 237 mini-caffe
    clip_param: 248 synopsys
SolverParameter
    layer_wise_reduce: 45 openvino synopsys
    weights: 46 synopsys
BNParameter
    slope_filler: 1 mini-caffe happynear yjxiong
    bias_filler: 2 mini-caffe happynear yjxiong
    momentum: 3 mini-caffe happynear yjxiong
NoiseParameter
    gaussian_std: 1 happynear
    uniform_range: 2 happynear
    bias: 3 happynear
    mu: 1 naibaf7
    sigma: 2 naibaf7
NormalizeParameter
    normalize_type: 1 happynear
    fix_gradient: 2 happynear
    bp_norm: 3 happynear
ResizeParameter
    height: 1 happynear
    width: 2 happynear
    is_pyramid_test: 3 happynear
    out_height_scale: 4 happynear
    out_width_scale: 5 happynear
MultiBoxLossParameter
    objectness_score: 24 synopsys
PoolingParameter
    round_mode: 15 synopsys
PriorBoxParameter
    faceboxes: 14 synopsys
    box_width: 15 synopsys
    reduce_boxes: 14 chuanqi305
ProposalParameter
    anchor_base_size: 2 synopsys
    anchor_scale: 3 synopsys
    anchor_ratio: 4 synopsys
    max_rois: 5 synopsys
    rpn_min_size: 7 synopsys
    rpn_nms_thresh: 8 synopsys
ConvolutionParameter
    dilation: 16 yjxiong
VideoDataParameter
    source: 1 yjxiong
    batch_size: 4 yjxiong
    scale: 2 yjxiong
    mean_file: 3 yjxiong
"""

# Each message or enum of BVLC; under it the fields or values that forks add, each with its number and the forks in
# which it has that number. - stands before what changes no result, + before what layers or solvers read.
TABLE = """
LayerParameter
  + annotated_data_param: 200 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx
  + detection_evaluate_param: 205 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx, 161 cascade-rcnn
  + detection_output_param: 204 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx, 238 mini-caffe
  + multibox_loss_param: 201 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx
  + norm_param: 206 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx, 242 mini-caffe
  + permute_param: 202 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx, 239 mini-caffe, 224 happynear
  + prior_box_param: 203 SSD MobileNet-YOLO intel NVIDIA openvino synopsys Xilinx, 240 mini-caffe
  + box_annotator_ohem_param: 150 Microsoft, 10000 R-FCN, 152 intel
  + psroi_pooling_param: 149 Microsoft, 10001 R-FCN, 148 cascade-rcnn, 153 intel, 225 mini-caffe, 220 happynear
  + roi_pooling_param: 147 Microsoft cascade-rcnn, 8266711 R-FCN MNC synopsys, 154 intel, 229 mini-caffe, 204 happynear, 150 yjxiong, 1201 Xilinx
  + smooth_l1_loss_param: 148 Microsoft intel Xilinx, 8266712 R-FCN MNC synopsys, 149 cascade-rcnn, 212 openvino
  + mil_data_param: 5065028 Microsoft happynear
  + mil_param: 5065036 Microsoft happynear
  + roi_warping_param: 11870 MNC
  + mask_resize_param: 11890 MNC
  + proposal_param: 224 mini-caffe, 219 happynear, 212 synopsys, 1200 Xilinx
  + roi_align_param: 247 synopsys
  + bbox_reg_param: 150 cascade-rcnn
  + detection_data_param: 151 cascade-rcnn
  + eval_data_param: 152 cascade-rcnn
  + hard_mining_param: 153 cascade-rcnn
  + scale_route_param: 154 cascade-rcnn
  + decode_bbox_param: 155 cascade-rcnn
  + detection_group_loss_param: 156 cascade-rcnn
  + detection_group_accuracy_param: 157 cascade-rcnn
  + box_group_output_param: 158 cascade-rcnn
  + proposal_target_param: 159 cascade-rcnn
  + frcnn_output_param: 160 cascade-rcnn
  + region_loss_param: 600 MobileNet-YOLO, 209 intel
  + yolov3_param: 603 MobileNet-YOLO
  + yolo_seg_param: 604 MobileNet-YOLO
  + segmentation_evaluate_param: 605 MobileNet-YOLO
  + yolo_detection_output_param: 601 MobileNet-YOLO
  + yolov3_detection_output_param: 602 MobileNet-YOLO
  + reorg_param: 149 MobileNet-YOLO, 159 intel, 197 synopsys
  + eval_detection_param: 301 intel
  + trt_param: 152 NVIDIA
  + detectnet_groundtruth_param: 6801 NVIDIA Xilinx
  + detectnet_augmentation_param: 6802 NVIDIA Xilinx
  + bn_param: 45 SegNet ENet synopsys, 204 mini-caffe, 200 happynear, 137 yjxiong
  + dense_image_data_param: 138 SegNet, 46 ENet, 168 synopsys
  + upsample_param: 137 SegNet, 147 ENet, 150 MobileNet-YOLO, 177 synopsys
  + upsample_darknet_param: 209 synopsys
  + interp_param: 163 synopsys
  + seg_accuracy_param: 164 synopsys
  + seg_data_param: 141 yjxiong
  + mergecrop_param: 148 naibaf7
  + affinity_param: 149 naibaf7
  + relu6_param: 211 MobileNet-YOLO, 208 chuanqi305, 100000 Xilinx
  + split_param: 208 intel
  + spatial_dropout_param: 155 intel
  + grn_param: 208 openvino
  + shuffle_channel_param: 241 mini-caffe, 166 synopsys
  + flip_param: 212 happynear
  + l1_loss_param: 151 synopsys flownet2
  + gather_param: 211 synopsys
  + selu_param: 232 synopsys
  + selu_dropout_param: 233 synopsys
  + batch_reduction_param: 162 yjxiong
  + hard_sigmoid_param: 258 synopsys
  + thresholded_relu_param: 259 synopsys
  + scaled_tanh_param: 265 synopsys
  + matmul_param: 263 synopsys
  + pad_param: 224 synopsys
  + crop_center_param: 149 waifu2x
  + video_data_param: 207 SSD intel NVIDIA openvino synopsys Xilinx, 140 yjxiong
  + lstm_param: 201 caffe-lstm
  + ctc_loss_param: 200 warpctc-caffe
  + continuation_indicator_param: 201 warpctc-caffe
  + labelsequence_accuracy_param: 203 warpctc-caffe
  + reverse_param: 261 synopsys
  + correlation_param: 150 flownet2 synopsys
  + flow_warp_param: 159 flownet2 synopsys
  + coeff_schedule_param: 148 flownet2 synopsys
  + augmentation_param: 149 flownet2 synopsys
  + label_specific_add_param: 209 openvino, 241 happynear
  + center_loss_param: 211 happynear, 147 caffe-face
  + inner_distance_param: 213 happynear
  + normalize_param: 214 happynear
  + channel_scale_param: 237 happynear
  + embedding_extractor_param: 210 openvino
  + scale_filter_param: 211 openvino
  + largemargin_inner_product_param: 227 happynear
  + label_specific_rescale_param: 228 happynear
  + margin_inner_product_param: 232 happynear
  + label_specific_margin_param: 236 happynear
  + label_specific_affine_param: 238 happynear
  + label_specific_hard_margin_param: 239 happynear
  + triplet_loss_param: 203 happynear
  + general_contrastive_loss_param: 215 happynear
  + soft_contrastive_loss_param: 216 happynear
  + general_triplet_loss_param: 217 happynear
  + pairwise_param: 221 happynear
  + batch_contrastive_loss_param: 223 happynear
  + nca_param: 226 happynear
  + smoothl1_param: 222 happynear
  + infimum_loss_param: 229 happynear
  + ordinal_regression_loss_param: 230 happynear
  + feature_decay_loss_param: 233 happynear
  + confidence_penalty_loss_param: 234 happynear
  + focal_loss_param: 235 happynear
  + local_param: 201 happynear
  + insanity_param: 202 happynear
  + eltwise_affine_param: 205 happynear
  + sub_region_param: 206 happynear
  + noise_param: 207 happynear, 151 naibaf7
  + hotspot_param: 208 happynear
  + predict_box_param: 209 happynear
  + fcn_data_param: 210 happynear
  + soft_truncation_param: 218 happynear
  + truncation_param: 225 happynear
  + resize_param: 231 happynear
  + moe_param: 150 naibaf7
  - source_class: 10001 CaffeOnSpark
  + cos_data_param: 10010 CaffeOnSpark
  - engine: 149 intel
  - quantization_param: 158 intel
  - forward_type: 145 NVIDIA
  - backward_type: 146 NVIDIA
  - forward_math: 147 NVIDIA
  - backward_math: 148 NVIDIA
  - debug: 149 NVIDIA
  - cudnn_math_override: 150 NVIDIA
  - multinode: 150 intel
  - mn_activation_param: 151 intel
  - mn_grad_compress_param: 156 intel
  - bottom_data_type: 12 naibaf7
  - compute_data_type: 13 naibaf7
  - top_data_type: 14 naibaf7
  - bottom_quantizer: 16 naibaf7
  - top_quantizer: 17 naibaf7
  - net_quantizer: 18 naibaf7
  - blobs_quantizer: 19 naibaf7
  - autotune: 20 naibaf7
  - device: 95 naibaf7
  - bottom_shared_index: 96 naibaf7
  - top_shared_index: 97 naibaf7
DataParameter
    shuffle: 11 intel, 14 NVIDIA, 10 yjxiong
    side: 12 intel, 11 synopsys
  - threads: 11 NVIDIA Xilinx
  - parser_threads: 12 NVIDIA
  - cache: 13 NVIDIA
  - precache: 16 NVIDIA
  - disk_reader_threads: 4001 synopsys
    huge_video_dataset: 7000 synopsys
    limit_samples: 7001 synopsys
    preselection_file: 3001 synopsys
    preselection_label: 3002 synopsys
    range_start: 3003 synopsys
    range_end: 3004 synopsys
    rand_permute: 3005 synopsys
    rand_permute_order: 3006 synopsys
    rand_permute_seed: 3007 synopsys
    slice_point: 3008 synopsys
    encoding: 3009 synopsys
  - verbose: 3010 synopsys
    subtract: 3011 synopsys
    permute_every_iter: 3012 synopsys
    block_size: 3013 synopsys
    random: 22 synopsys
  - multi_gpu_testing: 12 Xilinx
ImageDataParameter
    label_divide_factor: 13 ENet
    min_height: 13 intel lisa-caffe
    min_width: 14 intel lisa-caffe
    short_side: 13 NVIDIA
  - threads: 14 NVIDIA
  - cache: 15 NVIDIA
  - precache: 16 NVIDIA
    dataset_share_per_node: 17 NVIDIA
    face_transform: 13 happynear
    max_shear_ratio: 14 happynear
    max_aspect_ratio: 15 happynear
    max_rotate_angle: 16 happynear
    min_random_scale: 17 happynear
    max_random_scale: 18 happynear
    max_random_shift: 19 happynear
    face_mirror: 20 happynear
    face_point_num: 21 happynear
    balance_class: 22 happynear
    balance_by: 23 happynear
    label_cut_start: 24 happynear
    label_cut_end: 25 happynear
    ignore_label: 15 synopsys
    label_type: 16 synopsys
MemoryDataParameter
    transpose: 5 happynear
    dim: 5 naibaf7
  - share_in_parallel: 10000 CaffeOnSpark
  - source: 10001 CaffeOnSpark
  - dataframe_column_select: 10002 CaffeOnSpark
  - image_encoded: 10003 CaffeOnSpark
  - dataframe_format: 10004 CaffeOnSpark
Datum
  + seg_label: 8 MobileNet-YOLO
  - record_id: 8 NVIDIA
TransformationParameter
  + crop_h: 11 SSD MobileNet-YOLO intel openvino synopsys Xilinx, 211 NVIDIA, 8 happynear
  + crop_w: 12 SSD MobileNet-YOLO intel openvino synopsys Xilinx, 212 NVIDIA, 9 happynear
  + resize_param: 8 SSD MobileNet-YOLO intel openvino synopsys, 208 NVIDIA, 9 Xilinx
  + noise_param: 9 SSD MobileNet-YOLO intel openvino synopsys, 209 NVIDIA, 10 Xilinx
  + distort_param: 13 SSD MobileNet-YOLO intel openvino synopsys Xilinx, 213 NVIDIA
  + expand_param: 14 SSD MobileNet-YOLO intel openvino synopsys Xilinx, 214 NVIDIA
  + emit_constraint: 10 SSD MobileNet-YOLO intel openvino synopsys, 210 NVIDIA, 15 Xilinx
    further_resize_param: MobileNet-YOLO
    enable_classf_aug: 15 MobileNet-YOLO
    min_scaling_factor: 16 MobileNet-YOLO
    max_scaling_factor: 17 MobileNet-YOLO
    max_rotation_angle: 18 MobileNet-YOLO
    contrast_brightness_adjustment: 19 MobileNet-YOLO
    smooth_filtering: 20 MobileNet-YOLO
    min_contrast: 21 MobileNet-YOLO
    max_contrast: 22 MobileNet-YOLO
    max_brightness_shift: 23 MobileNet-YOLO
    max_smooth: 24 MobileNet-YOLO
    max_color_shift: 25 MobileNet-YOLO
    min_side_min: 26 MobileNet-YOLO
    min_side_max: 27 MobileNet-YOLO
    min_side: 28 MobileNet-YOLO
    apply_probability: 29 MobileNet-YOLO
  - debug_params: 30 MobileNet-YOLO
    cvt_bgr2rgb: 31 MobileNet-YOLO
    random_resize_param: 15 intel
    random_aspect_ratio_param: 16 intel
    flow: 17 intel, 6 lisa-caffe
    bgr2rgb: 18 intel
    pad: 19 intel
    img_rand_resize_lower: 10 NVIDIA
    img_rand_resize_upper: 11 NVIDIA
    rand_resize_ratio_lower: 12 NVIDIA
    rand_resize_ratio_upper: 13 NVIDIA
    vertical_stretch_lower: 14 NVIDIA
    vertical_stretch_upper: 15 NVIDIA
    horizontal_stretch_lower: 16 NVIDIA
    horizontal_stretch_upper: 17 NVIDIA
    interpolation_algo_down: 18 NVIDIA
    interpolation_algo_up: 19 NVIDIA
    allow_upscale: 20 NVIDIA
  - forward_packing: 21 NVIDIA
  - use_gpu_transform: 8 NVIDIA Xilinx
  - random_seed: 9 NVIDIA
  - display: 22 NVIDIA
  - num_labels: 23 NVIDIA
    center_crop: 10 happynear
    erase_ratio: 11 happynear
    scale_min: 12 happynear
    scale_max: 13 happynear
    aspect_min: 14 happynear
    aspect_max: 15 happynear
    scale_factors: 18 synopsys
    crop_width: 19 synopsys
    crop_height: 20 synopsys
    caffe_yolo: 21 synopsys
    fix_crop: 10 yjxiong
    more_fix_crop: 15 yjxiong
    multi_scale: 11 yjxiong
    scale_ratios: 12 yjxiong
    max_distort: 13 yjxiong
    is_flow: 14 yjxiong
    original_image: 20 yjxiong
    stride: 16 yjxiong
    upper_size: 17 yjxiong
    upper_height: 18 yjxiong
    upper_width: 19 yjxiong
    rotate: 16 Xilinx
LossParameter
  + pre_fixed_normalizer: 4 Microsoft R-FCN intel
    weight_by_label_freqs: 3 SegNet ENet, 5 openvino synopsys
    class_weighting: 4 SegNet ENet, 6 openvino synopsys
    label_smoothing: 5 intel, 4 NVIDIA
    adaptive_weighting: 7 openvino
    gamma: 8 openvino
    scale: 9 openvino
    min_weight: 10 openvino
    max_weight: 11 openvino
    max_entropy_weight: 12 openvino
LossParameter.NormalizationMode
  + PRE_FIXED: 3 Microsoft R-FCN intel
AccuracyParameter
    min_is_better: 4 happynear
    denominator: 4 lisa-caffe
ArgMaxParameter
  - use_ignore_ids: 4 openvino
  - ignore_id: 5 openvino
    min_first: 4 synopsys
BatchNormParameter
  - engine: 4 intel, 15 NVIDIA happynear Xilinx
  - use_weight_bias: 5 intel
    bias_term: 6 intel
    filler: 7 intel
    bias_filler: 8 intel happynear, 6 NVIDIA Xilinx
  - stats_batch_size: 9 intel
    relu: 10 intel
    scale_filler: 5 NVIDIA Xilinx, 7 happynear
    scale_bias: 7 NVIDIA
    disable_mean: 4 happynear
    disable_variance: 5 happynear
    add_eps_before_sqrt: 4 synopsys
    update_global_stats: 6 synopsys
    icnet: 7 synopsys
    fused_relu: 4 naibaf7
ConcatParameter
  - per_fla_fuse: 4 intel
  - engine: 3 intel
ConvolutionParameter
    relu: 19 intel
    negative_slope: 20 intel
  - conv_algorithm: 21 intel
    coeff: 23 intel
    fusion_type: 24 intel
  - cudnn_convolution_algo_seeker: 19 NVIDIA happynear
  - conv_algos_override: 20 NVIDIA
    shape_offset: 20 happynear, 22 synopsys
    pad_type: 19 synopsys
    pad_l: 26 synopsys
    pad_r: 27 synopsys
    pad_t: 28 synopsys
    pad_b: 29 synopsys
  - per_channel_scale_weight: 39 synopsys
  - per_channel_scale_output: 41 synopsys
  - submanifold_sparse: 42 synopsys
    weight_fixed: 23 synopsys
    dis_mode: 20 synopsys
    gen_mode: 21 synopsys
    dilation_h: 17 yjxiong
    dilation_w: 18 yjxiong
    fuse_type: 19 naibaf7
    eltwise_param: 20 naibaf7
    relu_param: 30 naibaf7
    tf_pad: 19 chuanqi305
ConvolutionParameter.Engine
  - MKL2017: 3 intel
  - MKLDNN: 4 intel
  - LIBDNN: 3 naibaf7
  - INTEL_SPATIAL: 4 naibaf7
  - FFT: 5 naibaf7
DropoutParameter
    scale_train: 2 Microsoft R-FCN MNC naibaf7, 3 synopsys
    sample_weights_test: 2 SegNet ENet synopsys
  - engine: 2 NVIDIA
  - random_seed: 3 NVIDIA
    sqrt_scale: 2 happynear
EltwiseParameter
  - engine: 4 intel
    axis: 6 synopsys
    coeff_blob: 4 lisa-caffe
EltwiseParameter.EltwiseOp
    SORT: 3 happynear
    DIV: 3 synopsys
    MIN: 4 synopsys
    STOCHASTIC_SUM: 3 yjxiong
ELUParameter
    lambda: 2 NVIDIA
FillerParameter
  + scale: 9 intel
  + alpha: 9 happynear
  + diag_val: 9 synopsys
InnerProductParameter
  - engine: 7 intel
    relu: 8 intel
    negative_slope: 9 intel
    normalize: 7 openvino happynear
    weight_fixed: 7 synopsys
    dis_mode: 8 synopsys
    gen_mode: 9 synopsys
LRNParameter
    fuse_type: 7 naibaf7
    pooling_param: 8 naibaf7
  - unit_test_mode: 9 naibaf7
  - unit_test_fuse_kernel: 10 naibaf7
LRNParameter.Engine
  - MKL2017: 3 intel
  - MKLDNN: 4 intel
ParameterParameter
    filler: 2 openvino
  - norm_axis: 3 openvino
    blob_filler: 2 happynear
PoolingParameter
    ceil_mode: 13 cascade-rcnn, 14 synopsys
    pad_3d: 15 intel
    kernel_size_3d: 16 intel
    stride_3d: 17 intel
    avg_include_pad: 13 intel
    axis: 14 intel, 16 naibaf7
  - torch_pooling: 40 NVIDIA
    dilation: 13 openvino naibaf7
    blobs_lr: 13 happynear
    blobs_a_min: 14 happynear
    pad_type: 13 synopsys
    pad_l: 16 synopsys
    pad_r: 17 synopsys
    pad_t: 18 synopsys
    pad_b: 19 synopsys
PoolingParameter.PoolMethod
    MDS: 3 openvino
    DEF: 3 happynear
    DEF_ALL: 4 happynear
    DEF_ALL2: 5 happynear
    DEF_ALL3: 6 happynear
    DEF_ALL4: 7 happynear
    LOWRES: 8 happynear
    AVE_EXC_PAD: 3 synopsys
    AVE_TF: 3 synopsys
PoolingParameter.Engine
  - MKL2017: 3 intel
  - MKLDNN: 4 intel
  - LIBDNN: 3 naibaf7
ReductionParameter
    k: 4 yjxiong
ReductionParameter.ReductionOp
    TOPK: 5 yjxiong
ReLUParameter
  - fuse: 3 intel
    relu6: 3 synopsys
    maximum: 6 synopsys
    minimum: 7 synopsys
ReLUParameter.Engine
  - MKL2017: 3 intel
  - MKLDNN: 4 intel
ReshapeParameter
    pixelshuffler: 4 intel synopsys
ScaleParameter
    min_value: 6 happynear
    max_value: 7 happynear
    dis_mode: 6 synopsys
    gen_mode: 7 synopsys
SoftmaxParameter
    hard_ratio: 3 happynear
    class_weight: 4 happynear
    hard_mining_label: 5 happynear
    cutting_point: 6 happynear
    normalize_type: 7 happynear
    label_smooth_factor: 8 happynear
SolverParameter
  + eval_type: 41 SSD intel openvino synopsys, 42 cascade-rcnn, 52 MobileNet-YOLO, 241 NVIDIA, 45 Xilinx
  + ap_version: 42 SSD intel openvino synopsys Xilinx, 43 cascade-rcnn, 53 MobileNet-YOLO, 242 NVIDIA
  + show_per_class_result: 44 SSD cascade-rcnn MobileNet-YOLO openvino synopsys Xilinx, 43 intel, 244 NVIDIA
  + plateau_winsize: 43 SSD MobileNet-YOLO openvino synopsys, 44 intel, 243 NVIDIA
  + stagelr: 50 MobileNet-YOLO, 150 intel
  + stageiter: 51 MobileNet-YOLO, 151 intel
  + disabled_update: 46 intel
  - engine: 47 intel
  + warmup_iter: 48 intel
  + warmup_start_lr: 49 intel
  + local_lr_auto: 50 intel
  + local_gw_ratio: 51 intel
  + test_offset: 52 intel
  + rampup_interval: 41 NVIDIA
  + rampup_lr: 42 NVIDIA
  + min_lr: 43 NVIDIA
  + momentum_policy: 46 NVIDIA
  + max_momentum: 47 NVIDIA
  + momentum_power: 48 NVIDIA
  + larc: 49 NVIDIA
  + larc_policy: 50 NVIDIA
  + larc_eta: 51 NVIDIA
  + larc_turbo: 55 NVIDIA
  + weight_decay_policy: 52 NVIDIA
  + weight_decay_power: 53 NVIDIA
  + max_weight_decay: 56 NVIDIA
  - solver_data_type: 44 NVIDIA
  - store_blobs_in_old_format: 45 NVIDIA
    test_and_snapshot_last_epochs: 54 NVIDIA
  + clamp_weights_lower: 42 happynear
  + clamp_weights_upper: 43 happynear
  + clip_weights: 44 happynear
  - gan_solver: 51 synopsys
  + with_restart: 712 AdamWR
  + cosine_decay_steps: 713 AdamWR
  + cosine_decay_mult: 714 AdamWR
  - group_id: 38 yjxiong
  - richness: 37 yjxiong
  - data_type: 43 naibaf7
  - device: 18 naibaf7
  + stepearly: lisa-caffe
SolverParameter.SolverType
  + SAG: 6 NVIDIA
  + ADAMWR: 6 AdamWR
SolverState
  + minimum_loss: 5 SSD MobileNet-YOLO intel NVIDIA openvino synopsys
  + iter_last_event: 6 SSD MobileNet-YOLO intel NVIDIA openvino synopsys
NetParameter
  - compile_net_state: 10 intel
  - engine: 9 intel
  - bn_stats_batch_size: 11 intel
  - multinode: 101 intel
  - default_forward_type: 11 NVIDIA
  - default_backward_type: 12 NVIDIA
  - default_forward_math: 13 NVIDIA
  - default_backward_math: 14 NVIDIA
  - global_grad_scale: 15 NVIDIA
  - global_grad_scale_adaptive: 16 NVIDIA
  - default_conv_algos_override: 17 NVIDIA
  - reduce_buckets: 18 NVIDIA
  - default_cudnn_math_override: 19 NVIDIA
  - eltwise_mem_sharing: 20 NVIDIA
  - mem_param: 200 yjxiong
  - data_type: 42 naibaf7
  - quantizer: 80 naibaf7
  - reduced_memory_inference: 81 naibaf7
  - autotune: 82 naibaf7
NetState
  - quantizer_mode: 4 naibaf7
"""  # noqa: E501
