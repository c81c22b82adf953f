"""The baseline: the same tasks as a textbook makes them with Django REST framework.

A ModelViewSet, SimpleJWT, django-filter, page numbers, an activity row for each change, gunicorn. `gunicorn
baseline.wsgi` serves it.
"""
