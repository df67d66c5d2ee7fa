"""Images of any size -> pictures of one size."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = Literal["crop", "stretch"]
Rgb = NDArray[np.uint8]


def resized(image: Rgb, side: int, frame: Frame) -> Rgb:
    """Return an image (h, w, 3) uint8 as (side, side, 3) uint8, bicubic: its centre square, or the whole of it."""
    box = None
    if frame == "crop":
        height, width = image.shape[:2]
        cut = min(height, width)
        box = ((width - cut) / 2, (height - cut) / 2, (width + cut) / 2, (height + cut) / 2)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))
