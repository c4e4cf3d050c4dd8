"""Chats: templates, roles, images out of band, tools, and the answers in OpenAI's shapes."""
