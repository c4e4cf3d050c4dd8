"""The words of questions, and of small talk with its answers."""

PROMPTS: dict[str, tuple[str, ...]] = {
    "caption": (
        "What is this a picture of?",
        "What is this a picture of?",
        "Describe the image.",
        "Describe the picture.",
        "Describe this image.",
        "Describe this picture.",
        "What do you see?",
        "What do you see in this image?",
        "What is this?",
        "What is in this image?",
        "What is in this picture?",
        "What's in this image?",
        "What is in the picture?",
        "What does the picture show?",
        "Can you please describe this image?",
        "Caption this image.",
    ),
    "count": (
        "How many objects are there?",
        "How many objects are there?",
        "How many objects do you see?",
        "How many objects are in the picture?",
        "How many shapes are there?",
        "How many things are there?",
        "Count the objects.",
    ),
    "count of a color": (
        "How many {color} objects are there?",
        "How many objects are {color}?",
        "How many {color} shapes are there?",
        "How many {color} things do you see?",
        "Count the {color} objects.",
    ),
    "count of a shape": (
        "How many {shape}s are there?",
        "How many {shape}s do you see?",
        "How many {shape}s are in the picture?",
        "Count the {shape}s.",
    ),
    "color": (
        "What color is the {shape}?",
        "What color is the {shape}?",
        "Which color is the {shape}?",
        "What is the color of the {shape}?",
        "What colour is the {shape}?",
    ),
    "color of several": (
        "What color are the {shape}s?",
        "Which color are the {shape}s?",
        "What is the color of the {shape}s?",
        "What colour are the {shape}s?",
    ),
    "color of the only object": (
        "What color is it?",
        "What color is the object?",
        "What color is this?",
        "What colour is it?",
    ),
    "shape": (
        "What shape is the {color} object?",
        "What shape is the {color} object?",
        "What shape is the {color} thing?",
        "What is the shape of the {color} object?",
        "Which shape is {color}?",
    ),
    "shape of the only object": (
        "What shape is it?",
        "What shape is the object?",
        "What shape is this?",
    ),
    "colors": (
        "What colors do you see?",
        "What colors are there?",
        "Which colors are in the picture?",
        "List the colors.",
    ),
    "shapes": (
        "What shapes do you see?",
        "What shapes are there?",
        "Which shapes are in the picture?",
        "List the shapes.",
    ),
    "where": (
        "Where is the {item}?",
        "Where is the {item}?",
        "Where do you see the {item}?",
        "What is the position of the {item}?",
    ),
    "what is there": (
        "What is at the {place}?",
        "What is at the {place}?",
        "What do you see at the {place}?",
        "What is in the {place}?",
    ),
    "yes or no": (
        "Is there {thing}?",
        "Is there {thing}?",
        "Do you see {thing}?",
        "Is there {thing} in the picture?",
    ),
    "json": (
        "Extract the objects as JSON.",
        "Extract the objects as JSON.",
        "Describe the picture as JSON.",
        "Describe the image as JSON.",
        "List the objects as JSON.",
        "Give me the objects as JSON.",
        "Answer in JSON.",
        "Return JSON.",
    ),
    "each picture": (
        "Describe each picture.",
        "Describe each image.",
        "Describe the pictures.",
        "Describe the images.",
        "What are these pictures of?",
        "What do you see?",
    ),
    "one of two pictures": (
        "What is in the {nth} picture?",
        "What is in the {nth} image?",
        "Describe the {nth} picture.",
        "Describe the {nth} image.",
    ),
    "which has more": (
        "Which picture has more objects?",
        "Which image has more objects?",
        "Which one has more objects?",
    ),
}

SMALL_TALK: dict[str, tuple[str, ...]] = {
    "Hello! Show me a picture of some shapes and ask me about it.": (
        "Hello",
        "Hello!",
        "Hi",
        "Hi!",
        "Hey!",
        "Hello there!",
        "Good morning!",
    ),
    "I am the small model that comes with Inlay. I know colored shapes.": (
        "Who are you?",
        "What are you?",
        "What is your name?",
    ),
    "I can name, count and find colored shapes, and list them as JSON.": (
        "What can you do?",
        "Help",
        "How can you help me?",
    ),
    "You are welcome!": ("Thanks", "Thanks!", "Thank you", "Thank you!"),
    "Goodbye!": ("Bye", "Bye!", "Goodbye", "Goodbye!"),
    "I am fine, thank you. Show me a picture!": ("How are you?", "How are you doing?"),
    "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
    "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty": (
        "Count to twenty.",
        "Count to twenty",
        "Count to 20.",
    ),
    "Once upon a time a small red circle lived alone on a white page. One morning a blue square "
    "moved in at the top left. They did not speak for a week, for one had no corners and the "
    "other had four. Then a yellow star fell into the center of the page, and it was so bright "
    "that both came to look. The circle rolled, the square tumbled, and the star told them "
    "where it had been. From that day on they were three, and when somebody asked what the page "
    "was a picture of, they all answered at once.": (
        "Tell me a story.",
        "Tell me a story",
        "Tell me a story!",
        "Write a story.",
    ),
}
