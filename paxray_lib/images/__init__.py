"""PNG, JPEG and DICOM to one grayscale float image; preprocessing; views."""

from paxray_lib.images.image import Image
from paxray_lib.images.read import read_image, read_view
from paxray_lib.images.views import VIEWS, case_of, view_of

__all__ = ["VIEWS", "Image", "case_of", "read_image", "read_view", "view_of"]
