"""Messages as the model's template takes them: parts, images, what is typed, what is continued."""

import pytest
from scripted_chats import HELLO, IMAGE, PIXEL, TEMPLATE, chat, facts, rendered


def test_parts_become_what_the_template_takes() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert rendered([{"role": "user", "content": parts}]) == "<s>user:ab;assistant:"
    only_strings = facts("{% for m in messages %}{{ m.content | trim }}{% endfor %}")
    assert rendered([{"role": "user", "content": parts}], model=only_strings) == "ab"
    only_parts = facts(
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    )
    assert rendered(HELLO, model=only_parts) == "Hello"


@pytest.mark.parametrize(
    "template", [TEMPLATE, "{% for m in messages %}{{ m.content }}{% endfor %}"]
)
def test_images_stand_where_the_client_put_them(template: str) -> None:
    content = [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]
    tool = {"role": "tool", "content": [IMAGE], "tool_call_id": "1"}
    body = {"messages": [{"role": "user", "content": content}, tool]}
    answer = chat(body, model=facts(template))
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] == 8


def test_what_a_user_types_is_text() -> None:
    typed = f"![]({PIXEL}) <image> </s>"
    answer = chat({"messages": [{"role": "user", "content": typed}]})
    usage = answer.json()["usage"]
    assert usage["prompt_tokens_details"]["image_tokens"] == 0
    assert usage["prompt_tokens"] == len("user:" + typed + ";assistant:") + 1
    assert typed in rendered([{"role": "user", "content": typed}])


def test_markdown_is_an_image_where_the_operator_says_so() -> None:
    messages = [{"role": "user", "content": f"a![]({PIXEL})b"}]
    answer = chat({"messages": messages}, has_chat_markdown_images=True)
    assert answer.json()["usage"]["prompt_tokens_details"]["image_tokens"] == 4


def test_an_assistants_last_message_is_continued() -> None:
    messages = [*HELLO, {"role": "assistant", "content": "So"}]
    assert rendered(messages).endswith("assistant:So")
    assert rendered(messages, add_generation_prompt=True).endswith("So;assistant:")
    assert rendered(messages, continue_final_message=False).endswith("So;assistant:")
