"""Importing this module makes Transformers' Auto classes know the students of STUDENTS.

import pipeline.student.registration
AutoModelForSequenceClassification.from_pretrained("artifacts/students/NAME")
"""

import transformers

from pipeline.student import STUDENTS
from pipeline.student.network_settings import auto_class_of, network_class

for _name in STUDENTS:
    _network = network_class(_name)
    transformers.AutoConfig.register(_name, _network.config_class)
    getattr(transformers, auto_class_of(_network)).register(_network.config_class, _network)
