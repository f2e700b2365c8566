"""Find faces in an image with an SSD, and draw their boxes."""

import argparse

import cv2
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--prototxt", default="faces.prototxt")
parser.add_argument("--model", default="faces.caffemodel")
parser.add_argument("--image", default="image.png")
parser.add_argument("--confidence", type=float, default=0.5)
args = parser.parse_args()

net = cv2.dnn.readNetFromCaffe(args.prototxt, args.model)
image = cv2.imread(args.image)
(h, w) = image.shape[:2]
blob = cv2.dnn.blobFromImage(cv2.resize(image, (60, 60)), 1.0, (60, 60), (104.0, 177.0, 123.0))
net.setInput(blob)
detections = net.forward()
print("detections", detections.shape)

for i in range(detections.shape[2]):
    confidence = detections[0, 0, i, 2]
    if confidence > args.confidence:
        box = detections[0, 0, i, 3:7] * np.array([w, h, w, h])
        (startX, startY, endX, endY) = box.astype("int")
        print(f"face {confidence * 100:.2f}%: {box.round(2).tolist()}")
        y = startY - 10 if startY - 10 > 10 else startY + 10
        cv2.rectangle(image, (startX, startY), (endX, endY), (0, 0, 255), 2)
        cv2.putText(image, f"{confidence:.2f}", (startX, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 255), 2)

cv2.imwrite("faces.png", image)
