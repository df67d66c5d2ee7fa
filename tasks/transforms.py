"""The stages' pure functions in the one signature that a shard stage calls."""

import pyarrow as pa

from tasks.clean import CleanConfig, clean
from tasks.crops import CropEmbedConfig, embed_crops
from tasks.detect import DetectConfig, detect
from tasks.embed import ImageEmbedConfig, TextEmbedConfig, embed_images, embed_text
from tasks.nodes import Context


def clean_documents(tables: list[pa.Table], config: CleanConfig, context: Context) -> pa.Table:
    """Clean one shard of documents."""
    return clean(tables[0], config)


def embed_documents(tables: list[pa.Table], config: ImageEmbedConfig, context: Context) -> pa.Table:
    """Embed the images of one shard of documents."""
    return embed_images(tables[0], config, source=context.source)


def embed_texts(tables: list[pa.Table], config: TextEmbedConfig, context: Context) -> pa.Table:
    """Embed one cleaned field of one shard."""
    return embed_text(tables[0], config)


def detect_elements(tables: list[pa.Table], config: DetectConfig, context: Context) -> pa.Table:
    """Detect text lines, faces or objects in the images of one shard of documents."""
    return detect(tables[0], config, source=context.source)


def embed_elements(tables: list[pa.Table], config: CropEmbedConfig, context: Context) -> pa.Table:
    """Embed the detected elements of one shard of documents."""
    return embed_crops(tables[0], tables[1], config, source=context.source)
