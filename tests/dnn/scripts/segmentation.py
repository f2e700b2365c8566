"""Give each pixel of an image the colour of its class."""

import cv2 as cv
import numpy as np

net = cv.dnn.readNet("segmentation.caffemodel", "segmentation.prototxt")
net.setPreferableBackend(0)
net.setPreferableTarget(0)

frame = cv.imread("image.png")
blob = cv.dnn.blobFromImage(frame, 1.0, (64, 48), (104, 117, 123), False, crop=False)
net.setInput(blob)
score = net.forward()
print("score", score.shape)

numClasses, height, width = score.shape[1:]
np.random.seed(324)
colors = [np.array([0, 0, 0], np.uint8)]
for i in range(1, numClasses):
    colors.append((colors[i - 1] + np.random.randint(0, 256, [3], np.uint8)) / 2)

classIds = np.argmax(score[0], axis=0)
segm = np.stack([colors[idx] for idx in classIds.flatten()]).reshape(height, width, 3)
segm = cv.resize(segm, (frame.shape[1], frame.shape[0]), interpolation=cv.INTER_NEAREST)
frame = (0.1 * frame + 0.9 * segm).astype(np.uint8)
print("pixels of each class", np.bincount(classIds.ravel(), minlength=numClasses).tolist())
cv.imwrite("segments.png", frame)
