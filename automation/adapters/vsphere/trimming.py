"""What of an answer is not worth reading: parts of a VM that nobody here asks about. Pure.

Most of the time in which VMs are read went into keyboards, controllers and labels. What does not look as
expected is left as it is: then it is only slower.
"""

import re

_NEVER_ASKED = (
    b"VirtualIDEController|VirtualPS2Controller|VirtualPCIController|VirtualSIOController|VirtualKeyboard|"
    b"VirtualPointingDevice|VirtualMachineVideoCard|VirtualMachineVMCIDevice|VirtualCdrom|VirtualFloppy|"
    b"VirtualUSBController|VirtualUSBXHCIController|VirtualAHCIController|VirtualNVMEController|"
    b"ParaVirtualSCSIController|VirtualLsiLogicController|VirtualLsiLogicSASController|"
    b"VirtualBusLogicController|VirtualHdAudioCard|VirtualTPM|VirtualHPET|VirtualSerialPort|"
    b"VirtualParallelPort"
)
# A device holds no other, and no label a label: the first end of one is its own.
_DEVICE = re.compile(
    rb'<VirtualDevice(?:\s[^>]*)?\s[\w.-]+:type="(?:' + _NEVER_ASKED + rb')"[^>]*(?<!/)>.*?</VirtualDevice>'
    rb"|<deviceInfo(?:\s[^>]*)?(?<!/)>.*?</deviceInfo>",
    re.DOTALL,
)


def trim(answer: bytes) -> bytes:
    """Leave out of an answer the devices and labels that nobody here asks about."""
    return _DEVICE.sub(b"", answer)
