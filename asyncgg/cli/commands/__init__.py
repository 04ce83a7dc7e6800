"""The commands of asyncgg, one module each: options, and what a call does."""
