"""What a package of programs is called on disk: read by the runtime, written by the export."""

ENCODER, DECODER = "encoder", "decoder"
INDEX = "package.json"  # in a folder: {"package_version": 1, "programs": {name: file}}
INDEX_VERSION = 1
