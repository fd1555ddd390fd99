"""dlib's face-recognition network, of the paper's ID metric, and its landmark predictor: by the extra `evaluate`.

Evaluation only: the data of the 68-point predictor exclude commercial use.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.landmarks import Points
from shared.pixels import Image8
from trainer.errors import RecognitionUnavailableError


class FaceRecognizer:
    """Tells how far apart two faces are: the l2 distance of dlib's descriptors; 0.6 and more are two people.

    It finds landmarks too, by a method and from pictures that none of our networks learned from.
    """

    def __init__(self) -> None:
        """Load the networks. Raises RecognitionUnavailableError where the extra `evaluate` is not installed."""
        package = find_spec("face_recognition_models")
        if package is None or package.origin is None or find_spec("dlib") is None:
            raise RecognitionUnavailableError(
                "Identity can't be measured: install the extra 'evaluate' (dlib-bin, face_recognition_models); "
                "`make evaluate` does."
            )
        import dlib

        self.dlib = dlib
        models = Path(package.origin).parent / "models"
        self.predictor = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self.aligner = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self.network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
        self.detector = dlib.get_frontal_face_detector()

    def describe(self, picture: Image8, landmarks: Points) -> NDArray[np.float64]:
        """The descriptor (128,) of the face at these landmarks, in pixels of the picture."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        centre = (low + high) / 2
        boxes = [box for box in self.detector(picture, 1) if box.contains(int(centre[0]), int(centre[1]))]
        if not boxes:  # dlib's own detector misses small and turned faces; the landmarks say where the face is
            boxes = [self.dlib.rectangle(*(round(float(value)) for value in (*low, *high)))]
        shape = self.aligner(picture, boxes[0])
        return np.array(self.network.compute_face_descriptor(np.ascontiguousarray(picture), shape))

    def read(self, picture: Image8, landmarks: Points) -> Points:
        """The 68 points (68, 2) that dlib finds on the face with about these landmarks, in pixels of the picture."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        box = self.dlib.rectangle(*(round(float(value)) for value in (*low, *high)))
        shape = self.predictor(np.ascontiguousarray(picture), box)
        return np.array([(part.x + 0.5, part.y + 0.5) for part in shape.parts()], np.float32)
