"""Chat templates give the texts that the language's own interpreter gives: jinja2 set up as the usual readers set it up.

Each template of templates.py through each conversation, byte for byte; where one refuses a conversation, so does the other. Runs in a virtual
environment of the build folder (tokenizer_peers.py); what cannot be installed is skipped with the reason.
"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from llama import *  # noqa: E402,F403
import tokenizer_peers  # noqa: E402
from templates import CONVERSATIONS, TEMPLATES  # noqa: E402

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def environment():
    import jinja2.ext
    import jinja2.nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

        def _inside(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = lambda value, ensure_ascii=False, indent=None: json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    made.globals["raise_exception"] = raise_exception
    return made


def theirs(template, conversation):
    """The text, or None where the template refuses the conversation."""
    import jinja2
    try:
        return template.render(messages=conversation, tools=None, documents=None, add_generation_prompt=False, **SPECIAL)
    except jinja2.exceptions.TemplateError:
        return None


def ours(folder, conversation):
    line = json.dumps({"messages": conversation}) + "\n"
    done = subprocess.run([QUANTD, "tokenize", "--render", folder], input=line.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        assert b"chat template: line " in done.stderr, done.stderr
        return None
    return json.loads(done.stdout)["text"]


def check(name):
    template = environment().from_string(TEMPLATES[name])
    folder, texts = temporary_folder(), 0
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as out:
        json.dump({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": TEMPLATES[name]}, out)
    for conversation in CONVERSATIONS:
        want = theirs(template, conversation)
        equal(ours(folder, conversation), want, "%s: %s" % (name, json.dumps(conversation)))
        texts += want is not None
    assert texts >= 3, "%s: %d texts" % (name, texts)


def claim_for(name):
    def claim():
        check(name)
    claim.__name__ = "%s_gives_what_jinja2_gives" % name
    return claim


CLAIMS = [claim_for(name) for name in TEMPLATES]

try:
    tokenizer_peers.enter()
except Skip as reason:
    print("1..0 # SKIP %s" % reason)
    sys.exit(0)
run_claims(CLAIMS)
