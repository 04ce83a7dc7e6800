"""Rule: tests mirror the package's folders; what several of them share lives in `conftest.py`."""
