"""Paint an image in the style that a net has learned."""

import cv2 as cv
import numpy as np

net = cv.dnn.readNetFromCaffe("style.prototxt", "style.caffemodel")
net.setPreferableBackend(cv.dnn.DNN_BACKEND_OPENCV)

frame = cv.imread("image.png")
inHeight, inWidth = frame.shape[:2]
inp = cv.dnn.blobFromImage(frame, 1.0, (inWidth, inHeight), (103.939, 116.779, 123.68), swapRB=False, crop=False)

net.setInput(inp)
out = net.forward()
print("output", out.shape)

out = out.reshape(3, out.shape[2], out.shape[3])
out = np.clip(out.transpose(1, 2, 0), 0, 255)
print("colours", out.mean(axis=(0, 1)).round(2).tolist(), out.std(axis=(0, 1)).round(2).tolist())

t, _ = net.getPerfProfile()
freq = cv.getTickFrequency() / 1000
print("took some time:", t / freq > 0)
cv.imwrite("painting.png", out.astype(np.uint8))
