"""Writes snowball.json: what Snowball's own Python package (snowballstemmer, from PyPI) makes of some words.

Run it with an interpreter that has the package: python make-snowball.py > snowball.json
"""

import json
from importlib.metadata import version

import snowballstemmer

WORDS = {
    "ar": ["الكتاب", "كتب", "المدرسة", "مدارس", "يكتبون"],
    "da": ["hundene", "skolernes", "løberen", "venlighed", "bøger"],
    "de": ["häuser", "kinder", "freundlichkeit", "gelaufen", "strassen", "mädchen", "arbeiten"],
    "el": ["σπιτια", "γυναικων", "τρεχουμε", "μεγαλυτεροσ"],
    "en": [
        "dogs", "running", "astronomer", "astronomy", "studies", "study", "generously", "skies", "dying", "news",
        "boxes", "leaves", "children", "happily", "rationalisation", "was", "plural", "ponies",
    ],
    "es": ["perros", "corriendo", "felizmente", "canciones", "habitación", "estudiantes"],
    "fi": ["taloissa", "koirien", "juoksemassa", "kirjastoon", "ystävällisyys"],
    "fr": ["chiens", "heureusement", "maisons", "étudiantes", "continuellement", "créées"],
    "hu": ["házakban", "kutyák", "könyvtárból", "barátságos"],
    "id": ["membaca", "perpustakaan", "bukunya", "berlari"],
    "it": ["cani", "felicemente", "correndo", "biblioteche", "studentesse"],
    "nl": ["honden", "huizen", "vriendelijkheid", "gelopen", "boeken"],
    "no": ["hundene", "skolenes", "vennlighet", "bøkene"],
    "pt": ["cachorros", "felizmente", "correndo", "canções", "estudantes"],
    "ro": ["copiilor", "frumoasele", "alergând", "bibliotecile"],
    "ru": ["собаками", "книги", "читающий", "библиотеках", "дружелюбность"],
    "sv": ["hundarna", "skolornas", "vänlighet", "böckerna"],
    "tr": ["köpekler", "evlerinden", "kitapçılar", "okulda"],
}
NAMES = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "porter", "es": "spanish",
    "fi": "finnish", "fr": "french", "hu": "hungarian", "id": "indonesian", "it": "italian", "nl": "dutch",
    "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish", "tr": "turkish",
}

stems = {
    code: {word: snowballstemmer.stemmer(NAMES[code]).stemWord(word) for word in words}
    for code, words in WORDS.items()
}
print(json.dumps({"made_with": f"snowballstemmer {version('snowballstemmer')}", "stems": stems}, ensure_ascii=False, indent=1))
