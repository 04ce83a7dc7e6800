"""asyncgg: disassociate AWS IoT Greengrass V2 client devices from their core devices, at the quota's limit."""

__version__ = "0.1.0"
