"""Tests of several parts together: files, loopback servers, the command line in this process."""
