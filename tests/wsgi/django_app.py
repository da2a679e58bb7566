# django_app.py - a Django application in one file that answers and fails; WSGI_DEBUG=1: in debug mode; WSGI_SENTRY=1: with
# Sentry's SDK, whose events go nowhere.
# SPDX-License-Identifier: MIT
import os

import django.conf
import django.core.wsgi
import django.http
import django.urls

if os.environ.get("WSGI_SENTRY") == "1":
    import sentry_sdk

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=lambda event: None, auto_session_tracking=False)

django.conf.settings.configure(DEBUG=os.environ.get("WSGI_DEBUG") == "1", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__,
                               SECRET_KEY="of a test", LOGGING_CONFIG=None)


def index(request):
    return django.http.HttpResponse("hello\n")


def fail(request):
    raise ValueError("as planned")


urlpatterns = [django.urls.path("", index), django.urls.path("fail", fail)]
application = django.core.wsgi.get_wsgi_application()
