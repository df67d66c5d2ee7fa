"""The stages' pure functions in the one signature that a shard stage calls, and the parts of a pass over images."""

import pyarrow as pa

from fuseline.tasks.engine.image_pass import ImageTransform
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.stages.clean import CleanConfig, clean
from fuseline.tasks.stages.crops import CropEmbedConfig, CropEmbedder
from fuseline.tasks.stages.detect import DetectConfig, ImageDetector
from fuseline.tasks.stages.embed import ImageEmbedConfig, ImageEmbedder, TextEmbedConfig, embed_text


def clean_documents(tables: list[pa.Table], config: CleanConfig, context: Context) -> pa.Table:
    """Clean one shard of documents."""
    return clean(tables[0], config)


def embed_texts(tables: list[pa.Table], config: TextEmbedConfig, context: Context) -> pa.Table:
    """Embed one cleaned field of one shard."""
    return embed_text(tables[0], config)


def _image_embedder(tables: list[pa.Table], config: ImageEmbedConfig) -> ImageEmbedder:
    return ImageEmbedder(config)


def _detector(tables: list[pa.Table], config: DetectConfig) -> ImageDetector:
    return ImageDetector(config)


def _crop_embedder(tables: list[pa.Table], config: CropEmbedConfig) -> CropEmbedder:
    return CropEmbedder(config, tables[1])


embed_documents = ImageTransform(_image_embedder)
detect_elements = ImageTransform(_detector)
embed_elements = ImageTransform(_crop_embedder)
