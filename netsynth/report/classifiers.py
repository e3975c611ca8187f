"""The classifiers of sessions that labels are judged by."""

from __future__ import annotations

from typing import Any

JUDGE = "gradient boosting"  # whose F1 per class is shown


def classifiers(rows: int) -> dict[str, Any]:
    """The six classifiers by name, for that many training rows; each has a fixed seed."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    return {
        "naive Bayes": make_pipeline(StandardScaler(), GaussianNB()),
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
        "KNN": make_pipeline(StandardScaler(), KNeighborsClassifier(min(5, max(rows, 1)))),
        "decision tree": DecisionTreeClassifier(random_state=0),
        "random forest": RandomForestClassifier(50, random_state=0),
        JUDGE: HistGradientBoostingClassifier(
            max_iter=50, min_samples_leaf=5, early_stopping=False, random_state=0
        ),  # smaller leaves than by default, so that it knows rare classes, too
    }
