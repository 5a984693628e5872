"""Importing this module makes Transformers' Auto classes know the students of STUDENTS.

import pipeline.student.registration
AutoModelForSequenceClassification.from_pretrained("artifacts/students/NAME")
"""

from transformers import AutoConfig, AutoModelForSequenceClassification

from pipeline.student import STUDENTS
from pipeline.student.network_settings import network_class

for _name in STUDENTS:
    _network = network_class(_name)
    AutoConfig.register(_name, _network.config_class)
    AutoModelForSequenceClassification.register(_network.config_class, _network)
