"""Find edges with a net whose Crop layers are written here, as they had to be for OpenCV 3."""

import cv2 as cv


class CropLayer:
    def __init__(self, params, blobs):
        self.xstart = 0
        self.xend = 0
        self.ystart = 0
        self.yend = 0

    # Two inputs: what is to be cropped, and what has the size that is wanted. The crop is from the centre.
    def getMemoryShapes(self, inputs):
        inputShape, targetShape = inputs[0], inputs[1]
        batchSize, numChannels = inputShape[0], inputShape[1]
        height, width = targetShape[2], targetShape[3]
        self.ystart = (inputShape[2] - targetShape[2]) // 2
        self.xstart = (inputShape[3] - targetShape[3]) // 2
        self.yend = self.ystart + height
        self.xend = self.xstart + width
        return [[batchSize, numChannels, height, width]]

    def forward(self, inputs):
        return [inputs[0][:, :, self.ystart : self.yend, self.xstart : self.xend]]


cv.dnn_registerLayer("Crop", CropLayer)

net = cv.dnn.readNet("edges.prototxt", "edges.caffemodel")
frame = cv.imread("image.png")
inp = cv.dnn.blobFromImage(
    frame, scalefactor=1.0, size=(80, 60), mean=(104.00698793, 116.66876762, 122.67891434), swapRB=False, crop=False
)
net.setInput(inp)
out = net.forward()
print("edges", out.shape, out.mean().round(4), out.std().round(4))
out = out[0, 0]
out = cv.resize(out, (frame.shape[1], frame.shape[0]))
cv.imwrite("edges.png", (out * 255).astype("uint8"))
cv.dnn_unregisterLayer("Crop")
