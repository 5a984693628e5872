"""Importing this module makes Transformers' Auto classes know the students of STUDENTS.

import pipeline.student.registration
AutoModelForSequenceClassification.from_pretrained("artifacts/students/NAME")
"""

import transformers

from pipeline.student.network_settings import STUDENTS

for _name, _settings in STUDENTS.items():
    _network = _settings.network_class()
    transformers.AutoConfig.register(_name, _network.config_class)
    getattr(transformers, _settings.auto_class).register(_network.config_class, _network)
