# flask_app.py - a Flask application that answers, does not find, and fails.
# SPDX-License-Identifier: MIT
import flask

app = flask.Flask(__name__)


@app.route("/")
def index():
    return "hello\n"


@app.route("/big")
def big():
    return "x" * 200000


@app.route("/fail")
def fail():
    raise ValueError("as planned")
