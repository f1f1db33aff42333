"""A page that is a viewer's front end, over a wire that a test holds: nothing passes by itself."""

import base64
import json

from helpers.viewer_page import ready

PAGE = """<!doctype html><meta charset=utf-8><style>{css}</style>
<body><div id="here"></div><script>{script}
const model = Object.assign(new PageModel({state}), {{ sent: [] }});
model.send = content => model.sent.push(content);
const take = () => JSON.stringify(model.sent.splice(0));
const give = (content, buffers) =>
  model.handlers.get("msg:custom").forEach(handler => handler(content, buffers));
initialize({{ model }});
render({{ model, el: document.getElementById("here") }});
</script>"""


def as_json(value) -> str:
    """Bytes as base64, which the page undoes."""
    text = json.dumps(value, default=lambda data: base64.b64encode(data).decode())
    return text.replace("<", "\\u003c")


class Wire:
    """A viewer and its page; `pass_on` lets what both sent arrive."""

    def __init__(self, page, viewer, folder):
        self.page, self.answers = page, []
        self.file = folder / "wire.html"
        self.connect(viewer)

    def connect(self, viewer):
        """Open the page with a viewer, of another kernel, say."""
        self.viewer = viewer
        viewer.send = lambda content, buffers=None: self.answers.append((content, buffers or []))
        self.open()

    def open(self):
        """Open the page, or load it again, with the kernel's state of now."""
        esm = str(self.viewer._esm)
        script = esm[: esm.rindex("export default")].replace("</script", "<\\/script")
        css, state = self.viewer._css, as_json(self.viewer.get_state())
        text = PAGE.format(css=css, script=script, state=state)
        self.file.write_text(text, encoding="utf-8")
        self.page.goto(self.file.as_uri())
        ready(self.page)

    def to_kernel(self):
        """Let what the page sent arrive; return it."""
        sent = json.loads(self.page.evaluate("take()"))
        for content in sent:
            self.viewer._answer(self.viewer, content, [])
        return sent

    def to_page(self):
        """Let what the kernel sent arrive."""
        for content, buffers in self.answers:
            text = as_json([content, buffers])
            self.page.evaluate("text => give(...JSON.parse(text))", text)
        self.answers.clear()

    def pass_on(self):
        """Let all that either sent arrive, until there is nothing more."""
        while self.to_kernel() or self.answers:
            self.to_page()
