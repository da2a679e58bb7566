# locustfile.py - what Locust's users ask for: a mix, some with a body, some on connections of their own.
# SPDX-License-Identifier: MIT
import locust


class User(locust.HttpUser):
    wait_time = locust.constant(0.001)

    def expect(self, status, path, **named):
        with self.client.get(path, catch_response=True, **named) as answer:
            if answer.status_code == status:
                answer.success()
            else:
                answer.failure(f"{path}: {answer.status_code}")

    @locust.task(4)
    def index(self):
        self.expect(200, "/")

    @locust.task(2)
    def alone(self):
        self.expect(200, "/", headers={"Connection": "close"})

    @locust.task(4)
    def nowhere(self):
        self.expect(404, "/nowhere", name="/nowhere")

    @locust.task
    def fail(self):
        self.expect(500, "/fail")

    @locust.task
    def big(self):
        self.expect(200, "/big")
