# demo_app.py - a Flask application of one page; all else is not found.
# SPDX-License-Identifier: MIT
import flask

app = flask.Flask(__name__)


@app.route("/")
def index():
    return "hello\n"
