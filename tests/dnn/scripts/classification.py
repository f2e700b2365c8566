"""Tell what is in an image, with a net that is read from memory."""

import cv2
import numpy as np

classes = [f"class {i}" for i in range(12)]

with open("classification.prototxt", "rb") as proto, open("classification.caffemodel", "rb") as model:
    net = cv2.dnn.readNetFromCaffe(bytearray(proto.read()), bytearray(model.read()))

image = cv2.imread("image.png")
blob = cv2.dnn.blobFromImage(image, 1, (56, 56), (104, 117, 123))
net.setInput(blob, "data")
preds = net.forward("prob")

idxs = np.argsort(preds[0])[::-1][:5]
for i, idx in enumerate(idxs):
    print(f"{i + 1}. {classes[idx]}, {preds[0][idx] * 100:.2f}%")

print(net.getLayerNames())
print([net.getLayer(int(i)).name for i in net.getUnconnectedOutLayers()])
print("conv1", net.getParam("conv1/7x7_s2").shape, round(float(np.abs(net.getParam("conv1/7x7_s2")).sum()), 2))
print("flops", net.getFLOPS((1, 3, 56, 56)), "bytes", net.getMemoryConsumption((1, 3, 56, 56)))

images = [image, image[:, ::-1], image[::-1]]
blob = cv2.dnn.blobFromImages(images, 1.0, (56, 56), (104, 117, 123), swapRB=False)
net.setInput(blob)
print("batch", net.forward().argmax(axis=1).tolist(), net.forward().max(axis=1).round(3).tolist())
