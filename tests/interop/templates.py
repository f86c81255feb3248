"""Chat templates of the common shapes, written for these tests, and conversations to render through them."""

CHATML = """{%- if messages and messages[0].role == 'system' %}
    {%- set rest = messages[1:] %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {%- set rest = messages %}
    {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
{%- endif %}
{%- for message in rest %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

HEADERS = """{{ bos_token }}{% for message in messages %}
{% set text = message['content'] | trim %}
{% if loop.index0 == 0 and message.role != 'system' %}
{{ '<|start_header_id|>system<|end_header_id|>\\n\\nToday is a day.<|eot_id|>' }}
{% endif %}
{{ '<|start_header_id|>' ~ message['role'] ~ '<|end_header_id|>\\n\\n' ~ text ~ '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

INST = """{%- set system = none %}
{%- if messages | length > 0 and messages[0]['role'] == 'system' %}
  {%- set system = messages[0]['content'] %}
  {%- set turns = messages[1:] %}
{%- else %}
  {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for turn in turns %}
  {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Roles must alternate: user, assistant, user, ...') }}
  {%- endif %}
  {%- if turn['role'] == 'user' %}
    {%- if loop.last and system is not none %}
      {{- '[INST] ' + system + '\\n\\n' + turn['content'] + '[/INST]' }}
    {%- else %}
      {{- '[INST] ' + turn['content'] + '[/INST]' }}
    {%- endif %}
  {%- elif turn['role'] == 'assistant' %}
    {{- ' ' + turn['content'] | trim + eos_token }}
  {%- else %}
    {{- raise_exception('Only user and assistant, found ' + turn['role']) }}
  {%- endif %}
{%- endfor %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

TURNS = """{{ bos_token }}
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- set prefix = messages[0]['content'] | trim + '\\n\\n' -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set prefix = '' -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (prefix if loop.first else '') }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for part in message['content'] -%}{{ part['text'] }}{%- endfor -%}
    {%- else -%}
        {{ raise_exception('Content of an unknown kind') }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}"""

PHI = """{% for message in messages %}{% if message['role'] in ['system', 'user', 'assistant'] %}<|{{ message['role'] }}|>
{{ message['content'] }}<|end|>
{% else %}{{ raise_exception('unknown role: ' ~ message.role) }}{% endif %}{% endfor %}
{% if not add_generation_prompt %}{{ eos_token }}{% endif %}"""

THINKING = """{% set ns = namespace(is_first=true, system='', last=-1) %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- if ns.is_first %}{% set ns.system = ns.system + message['content'] %}{% set ns.is_first = false %}
        {%- else %}{% set ns.system = ns.system + '\\n\\n' + message['content'] %}{% endif %}
    {%- endif %}
    {%- if message.role == "user" %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{{- bos_token }}{{ ns.system }}
{%- for message in messages %}
    {%- set content = message['content'] %}
    {%- if message['role'] == 'user' %}{{ '<|User|>' + content }}{% endif %}
    {%- if message['role'] == 'assistant' %}
        {%- set reasoning = message.get('reasoning_content', '') %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and reasoning %}
            {{- '<|Assistant|><think>\\n' + reasoning.strip() + '\\n</think>\\n\\n' + content }}
        {%- else %}
            {{- '<|Assistant|>' + content }}
        {%- endif %}
        {{- '<|end|>' }}
    {%- endif %}
{%- endfor %}"""

MACROS = """{%- macro turn(message, mark='#', number=none) -%}
    {{ mark ~ (number if number is not none else '') }} {{ message.role | capitalize }}: {{ message.content | replace('\\n', ' / ') }}
{% endmacro %}
{%- for message in messages if message.content | trim | length > 0 %}
{%- generation %}{{ turn(message, number=loop.revindex) }}{% endgeneration %}
{%- else %}nothing{% endfor %}
{{- messages | map(attribute='role') | join('>') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{% for key, value in {'roles': messages | rejectattr('role', 'in', ['system']) | map(attribute='role') | list, 'n': messages | length}.items() %}
{{ key | title }}={{ value | tojson }}{% if not loop.last %};{% endif %}
{% endfor %}
{% set kept %}
  [{{ (messages | last).content[:6] | upper if messages and messages[-1].content.isascii is defined else '-' }}]
{% endset %}
{{ kept | trim }}{% for i in range(4) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% if i == 2 %}{% break %}{% endif %}{% endfor %}"""

JSON = """{% for m in messages %}{{ m | tojson }}
{{ {'role': m.role, 'parts': m.content.split(), 'long': m.content | length > 9} | tojson(indent=2) }}{{ m.content[::-1][1:8:2] }}
{% endfor %}"""

TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "inst": INST, "zephyr": ZEPHYR, "turns": TURNS, "phi": PHI, "thinking": THINKING,
             "macros": MACROS.replace("and messages[-1].content.isascii is defined", ""), "json": JSON}


def said(*turns):
    return [{"role": {"s": "system", "u": "user", "a": "assistant"}.get(role, role), "content": text} for role, text in turns]


CONVERSATIONS = [
    said(("u", "Hi")), said(("u", "Hi"), ("a", "Hello!")), said(("s", "Be terse."), ("u", "Hi"), ("a", "Hello!")),
    said(("s", "  padded \n"), ("u", " Hi\n\n"), ("a", "\tHello!  "), ("u", "and?"), ("a", "so.")),
    said(("u", "a"), ("a", "<think>\nhm\n</think>\n\nyes"), ("u", "b"), ("a", "<think>x</think>y")),
    said(("a", "first")), said(("u", "a"), ("u", "b")), said(("s", "only")), said(("s", "s"), ("s", "t"), ("u", "a"), ("a", "b")),
    said(("u", "é你😀 <|im_start|> {{ x }} {% if %}"), ("a", 'Q: "quoted" \\ \n\n\u00a0')), said(("u", "a"), ("a", ""), ("u", ""), ("a", "z")),
    said(("u", "\u2028line\u2029 and \x1f unit")), said(("narrator", "Once.")),
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "because "}],
]
