"""Asks a question about a picture.

    python3 examples/python/ask.py artifacts/native/libparvts.so MODEL PICTURE QUESTION [POLICY]
"""

import json
import sys

import parvts


def main(library: str, model: str, picture: str, question: str, policy: str = "dense") -> None:
    with parvts.Library(library) as loaded, loaded.open(model) as engine, engine.session(policy) as session:
        prompt = engine.prompt(question, engine.image(picture))
        for piece in session.stream(prompt, max_tokens=16):
            print(piece, end="", flush=True)
        print()
        session.reset()  # or most of the prompt would come from the cache
        result = session.generate(prompt, max_tokens=16)
        print(json.dumps(result.info))
        print("KV rows by layer:", *session.kv_lengths)


if __name__ == "__main__":
    if not 5 <= len(sys.argv) <= 6:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except parvts.Error as error:
        sys.exit(f"error: {error}")
