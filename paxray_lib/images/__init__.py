"""PNG, JPEG and DICOM to one grayscale float image; preprocessing; views."""

from paxray_lib.images.image import Image
from paxray_lib.images.read import read_image
from paxray_lib.images.views import case_of, view_of

__all__ = ["Image", "case_of", "read_image", "view_of"]
