"""Retiring at a simulated AWS: never without a proven backup, and never a network that is needed."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.commands._provision_views import list_servers, with_kept
from automation.commands._retiring import RetireFlags, retire
from automation.commands._taking import TakeFlags, back_up, raise_failed
from automation.commands._verify import VerifyFlags, verify
from automation.model.errors import PreflightError, StepFailed
from automation.model.servers import KeptSnapshot
from automation.provisioning.decisions import decide
from tests.contracts.providers import City
from tests.programs.clouds import cloud_of_aws, folder
from tests.programs.simulators import AwsSimulated
from tests.programs.test_provider_contract import SERVICES

pytestmark = pytest.mark.lab
BACKUPS = """
version: 1
tz: UTC
stores:
  here: {type: aws, site: here}
rule: {copies: 1, media: 1, offsite: 0, immutable: 0}
guards: {min_keep: 2, max_delete: {percent: 50, count: 100}}
retention:
  standard: {daily: 7, keep_oldest: false}
resources:
  images:
    source: {kind: machine-image, server: NAME}
    rpo: 24 h
    take: {every: 1 day}
    to: [here]
    keep: {profile: standard, never_drop_last_verified: L1}
    verify: [{level: L1, every: 1 day}, {level: L4, every: 90 days, by: drill}]
"""


@pytest.fixture
def city(aws: AwsSimulated, tmp_path: Path) -> City:
    """A city with one server at AWS, and a service that stands on another host."""
    made = City(cloud_of_aws(aws), folder(tmp_path))
    made.declare(made.one)
    made.apply()
    (made.folder / "services.yml").write_text(SERVICES.replace("NAME", "client-1"))
    return made


def refusal(city: City, flags: RetireFlags) -> PreflightError:
    """What a retirement is refused with; nothing was run, and all that was there still is."""
    runs, before = city.runs(), city.census()
    with pytest.raises(PreflightError) as caught:
        retire(city.session(), city.look(), flags)
    assert (city.runs(), city.census()) == (runs, before)
    assert "nothing was changed" in str(caught.value)
    return caught.value


def states(city: City) -> Sequence[str]:
    around = city.look()
    return [one.verdict for one in decide(around.declared, around.seen.views) if one.name == city.one]


def save(city: City) -> None:
    result, _ = back_up(city.session(), TakeFlags("images"))
    raise_failed(result, city.name)


def test_a_server_stays_until_its_last_backup_is_proven_whatever_the_flag_says(city: City) -> None:
    (city.folder / "backups.yml").write_text(BACKUPS.replace("NAME", city.one))
    flags = RetireFlags(host=city.one)
    assert "is unproven: images has no good point" in str(refusal(city, flags))
    save(city)
    unproven = refusal(city, flags)
    assert f"the last backup of {city.one} is unproven: images was saved last" in str(unproven)
    assert f"./inv backup.verify --env {city.name} --resource images" in (unproven.hint or "")
    verify(city.session(), VerifyFlags(resource="images"))
    save(city)
    for unsaved in (False, True):  # a flag that says that nothing is kept stands against backups.yml
        assert "no proof of that at L1 counts" in str(refusal(city, flags._replace(unsaved=unsaved)))
    verify(city.session(), VerifyFlags(resource="images"))
    retire(city.session(), city.look(), flags)
    assert states(city) == ["retiring"]


def test_what_is_not_saved_goes_by_a_persons_word_and_its_network_when_nothing_needs_it(city: City) -> None:
    network, unsaved = RetireFlags(network=city.network), RetireFlags(city.one, unsaved=True, grace_days=0)
    told = refusal(city, unsaved._replace(unsaved=False))
    assert f"nothing of {city.one} is saved: no resource of backups.yml names it" in str(told)
    assert "--unsaved says that it keeps nothing" in (told.hint or "")
    assert "is needed: 1 ports of servers are in it" in str(refusal(city, network))
    retire(city.session(), city.look(), unsaved)
    assert states(city) == ["retiring"]
    with pytest.raises(StepFailed):
        retire(city.session(), city.look(), unsaved)
    city.say_yes(city.runs()[-1], f"delete/{city.one}").raise_for_status()
    around = city.look()
    shown = with_kept(city.session(), around, list_servers(around, every=False))
    assert [(one.server, one.disk, one.run_id) for one in shown.kept] == [
        (city.one, "system", city.runs()[-1])
    ]
    assert (len(shown.kept), shown.unseen) == (city.census().snapshots, False)
    assert "is needed: networks.yml declares it" in str(refusal(city, network))
    city.networks[f"{city.name}-other"] = {**city.networks.pop(city.network), "cidr": "10.20.16.0/20"}
    city.hosts[city.one]["server_networks"] = [f"{city.name}-other"]
    with pytest.raises(StepFailed):
        retire(city.session(), city.look(), network)
    assert city.census().networks == 1, "nobody has said yes"
    city.say_yes(city.runs()[-1], f"delete/{city.network}").raise_for_status()
    assert city.census().networks == 0
    assert "no network of ours is called" in str(refusal(city, network))


# --- what was kept goes ------------------------------------------------------------------------------


def retire_for_good(city: City) -> str:
    """Retire the server with nothing saved of it, and give the id of the snapshot that is kept."""
    gone = RetireFlags(city.one, unsaved=True, grace_days=0)
    retire(city.session(), city.look(), gone)
    with pytest.raises(StepFailed):
        retire(city.session(), city.look(), gone)
    city.say_yes(city.runs()[-1], f"delete/{city.one}").raise_for_status()
    (kept,) = kept_of(city)
    return kept.id


def kept_of(city: City) -> tuple[KeptSnapshot, ...]:
    around = city.look()
    return with_kept(city.session(), around, list_servers(around, every=False)).kept


def let_pass(aws: AwsSimulated, id_: str, day: str = "2026-01-31") -> None:
    """Let the days of a snapshot be over, as one who corrects its tag does."""
    tag = {"Key": "mainstay:until", "Value": day}
    aws.client("ec2").create_tags(Resources=[id_], Tags=[tag])


def ask_to_end(city: City) -> tuple[str, str, str]:
    """Begin to delete what is kept; give the run, its step and the question that it waits with."""
    with pytest.raises(StepFailed):
        retire(city.session(), city.look(), RetireFlags(city.one))
    run = city.runs()[-1]
    (step,) = json.loads((city.state / "runs" / run / "plan.json").read_text())["steps"]
    return run, step["id"], step["gate"]["ask"]


def test_what_is_kept_is_deleted_after_its_last_day_by_a_persons_yes(city: City, aws: AwsSimulated) -> None:
    backups, saved = city.folder / "backups.yml", BACKUPS.replace("NAME", city.one)
    backups.write_text(saved)
    save(city)
    backups.unlink()
    id_, flags = retire_for_good(city), RetireFlags(city.one)
    until = (datetime.now(UTC) + timedelta(days=90)).date()
    assert [one.until for one in kept_of(city)] == [until]
    assert f"are kept until {until}, and may be deleted after that" in str(refusal(city, flags))
    let_pass(aws, id_)
    before = city.census().snapshots
    assert f"last copy of {city.one} that is known of: no resource of backups.yml" in ask_to_end(city)[2]
    backups.write_text(saved)
    run, step, ask = ask_to_end(city)
    assert (step, city.census().snapshots) == (f"delete-kept/{city.one}/here", before)
    assert id_ in ask
    assert f"Its newest good backups: images of {datetime.now(UTC):%Y-%m-%d}." in ask
    city.say_yes(run, step).raise_for_status()
    assert (kept_of(city), city.census().snapshots) == ((), before - 1)
    assert "no server of ours is called" in str(refusal(city, flags))
    assert f"no snapshot of a disk of {city.one} is seen" in str(refusal(city, flags._replace(kept=True)))


def needs_of(aws: AwsSimulated, id_: str, image: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Let one after the other need a snapshot; each is told with what takes it back."""
    ec2 = aws.client("ec2")
    yield f"image {image}", lambda: ec2.deregister_image(ImageId=image)
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": id_}}
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"BlockDeviceMappings": [disk]})
    yield "launch template web version 1", lambda: ec2.delete_launch_template(LaunchTemplateName="web")
    ec2.lock_snapshot(SnapshotId=id_, LockMode="governance", LockDuration=1)
    yield r"a lock \(governance\)", lambda: ec2.unlock_snapshot(SnapshotId=id_)
    let_pass(aws, id_, "2027-12-31")
    yield "until was 2026-01-31, is 2027-12-31", lambda: let_pass(aws, id_)
    tag = {"Key": "mainstay:environment", "Value": "county"}
    ec2.create_tags(Resources=[id_], Tags=[tag])
    yield "does not bear the mark", lambda: None


def test_what_is_kept_and_somebody_needs_is_not_deleted(city: City, aws: AwsSimulated) -> None:
    id_, ec2 = retire_for_good(city), aws.client("ec2")
    instance = ec2.run_instances(ImageId=aws.image(), MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    image = ec2.create_image(InstanceId=instance, Name="again")["ImageId"]
    aws.settle()
    disks = ec2.describe_images(ImageIds=[image])["Images"][0]["BlockDeviceMappings"]
    of_image = next(one["Ebs"]["SnapshotId"] for one in disks if "SnapshotId" in one.get("Ebs", {}))
    tags = ec2.describe_snapshots(SnapshotIds=[id_])["Snapshots"][0]["Tags"]
    ec2.create_tags(Resources=[of_image], Tags=tags)
    for one in (id_, of_image):
        let_pass(aws, one)
    run, step, _ = ask_to_end(city)
    for why, take_back in needs_of(aws, id_, image):
        with pytest.raises(StepFailed, match=f"{why}.*nothing was deleted"):
            city.say_yes(run, step).raise_for_status()
        there = ec2.describe_snapshots(SnapshotIds=[id_, of_image])["Snapshots"]
        assert {one["SnapshotId"] for one in there} == {id_, of_image}
        take_back()
