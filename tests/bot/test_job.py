from bot.job import JobState, new_job_id


def test_ids_are_short_sort_by_time_and_differ() -> None:
    ids = [new_job_id(seconds) for seconds in (0.0, 1.9e9, 1.9e9 + 0.002, 3e10)]
    assert ids == sorted(ids)
    assert all(len(job_id) == 17 and job_id.isalnum() and job_id == job_id.lower() for job_id in ids)
    assert len({new_job_id(5.0) for _ in range(1000)}) == 1000


def test_what_has_ended() -> None:
    assert [state for state in JobState if not state.ended] == [JobState.QUEUED, JobState.RUNNING]
