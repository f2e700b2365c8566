"""Find objects in every frame of a video, and write a video with their boxes."""

import cv2
import numpy as np

CLASSES = ["background", "car", "person", "dog", "boat"]
COLORS = np.random.RandomState(1).uniform(0, 255, size=(len(CLASSES), 3))

net = cv2.dnn.readNetFromCaffe("objects.prototxt", "objects.caffemodel")
vs = cv2.VideoCapture("frame_%02d.png")
writer = None
count = 0
while True:
    grabbed, frame = vs.read()
    if not grabbed:
        break
    count += 1
    (h, w) = frame.shape[:2]
    blob = cv2.dnn.blobFromImage(cv2.resize(frame, (72, 72)), 0.007843, (72, 72), 127.5)
    net.setInput(blob)
    detections = net.forward()
    for i in np.arange(0, detections.shape[2]):
        confidence = detections[0, 0, i, 2]
        if confidence > 0.25:
            idx = int(detections[0, 0, i, 1])
            box = detections[0, 0, i, 3:7] * np.array([w, h, w, h])
            (startX, startY, endX, endY) = box.astype("int")
            label = f"{CLASSES[idx]}: {confidence * 100:.2f}%"
            print(f"frame {count}: {label} {box.round(1).tolist()}")
            cv2.rectangle(frame, (startX, startY), (endX, endY), COLORS[idx], 2)
            cv2.putText(frame, label, (startX, startY + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, COLORS[idx], 2)
    if writer is None:
        writer = cv2.VideoWriter("found.avi", cv2.VideoWriter_fourcc(*"MJPG"), 5, (w, h))
    writer.write(frame)
print(count, "frames")
writer.release()
vs.release()
