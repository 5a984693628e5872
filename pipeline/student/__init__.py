"""The students that are not Transformers, by the name they have in params.yaml.

A name leads to the module and class of its network: a `PreTrainedModel` whose config's
own fields are its settings. They are imported where a student asks for one, because that
takes seconds. CONTRIBUTING.md says what such a class must have.
"""

STUDENTS: dict[str, str] = {
    "text_cnn": "pipeline.student.text_cnn:TextCnnForSequenceClassification",
    "bilstm": "pipeline.student.bilstm:BilstmForSequenceClassification",
    "bilstm_tagger": "pipeline.student.bilstm:BilstmForTokenClassification",
}
