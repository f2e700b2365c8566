"""Tell the age and the gender of the faces that a detector finds."""

import cv2

MODEL_MEAN_VALUES = (78.4263377603, 87.7689143744, 114.895847746)
ageList = ["(0-2)", "(4-6)", "(8-12)", "(15-20)", "(25-32)", "(38-43)", "(48-53)", "(60-100)"]
genderList = ["Male", "Female"]
padding = 4


def getFaceBox(net, frame, conf_threshold=0.3):
    frameHeight, frameWidth = frame.shape[:2]
    blob = cv2.dnn.blobFromImage(frame, 1.0, (60, 60), [104, 117, 123], True, False)
    net.setInput(blob)
    detections = net.forward()
    bboxes = []
    for i in range(detections.shape[2]):
        confidence = detections[0, 0, i, 2]
        if confidence > conf_threshold:
            x1 = int(detections[0, 0, i, 3] * frameWidth)
            y1 = int(detections[0, 0, i, 4] * frameHeight)
            x2 = int(detections[0, 0, i, 5] * frameWidth)
            y2 = int(detections[0, 0, i, 6] * frameHeight)
            bboxes.append([x1, y1, x2, y2])
    return bboxes


ageNet = cv2.dnn.readNet("age.caffemodel", "age.prototxt")
genderNet = cv2.dnn.readNet("gender.caffemodel", "gender.prototxt")
faceNet = cv2.dnn.readNet("faces.caffemodel", "faces.prototxt")
for net in (ageNet, genderNet, faceNet):
    net.setPreferableBackend(cv2.dnn.DNN_TARGET_CPU)

frame = cv2.imread("image.png")
bboxes = getFaceBox(faceNet, frame)
print(len(bboxes) > 0 or "No face detected")
for bbox in bboxes[:3]:
    top, bottom = max(0, bbox[1] - padding), min(bbox[3] + padding, frame.shape[0] - 1)
    left, right = max(0, bbox[0] - padding), min(bbox[2] + padding, frame.shape[1] - 1)
    face = frame[top:bottom, left:right]
    blob = cv2.dnn.blobFromImage(face, 1.0, (57, 57), MODEL_MEAN_VALUES, swapRB=False)
    genderNet.setInput(blob)
    genderPreds = genderNet.forward()
    gender = genderList[genderPreds[0].argmax()]
    ageNet.setInput(blob)
    agePreds = ageNet.forward()
    age = ageList[agePreds[0].argmax()]
    print(f"Gender : {gender}, conf = {genderPreds[0].max():.3f}; Age : {age}, conf = {agePreds[0].max():.3f}")
