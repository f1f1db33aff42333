"""The viewer: a widget in Python, its page in JavaScript and CSS."""
