package main

import (
	"fmt"
	"log"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Keys of a .vmx that are hardware; all others are the machine's extra configuration.
var hardware = []string{
	"config.version", "displayName", "guestOS", "numvcpus", "memSize", "annotation", "uuid.bios", "vc.uuid",
}

const lock = ".lck" // beside a .vmx: which vCenter writes it

const most = 64 // disks and ports that are looked for in a .vmx

// Writes what a machine is beside its disks, where another vCenter finds it, unless that one has taken it over.
func (center *vcenter) writeFile(own *simulator.Context, vm *simulator.VirtualMachine) {
	own.WithLock(vm.Self, func() {
		file := center.pathOf(vm.Config.Files.VmPathName)
		holder, err := os.ReadFile(file + lock)
		if err == nil && string(holder) != center.identity() {
			return
		}
		if err != nil {
			center.takeFile(vm.Config.Files.VmPathName)
		}
		draft := file + ".new"
		if err := os.WriteFile(draft, []byte(vmx(vm)), 0o600); err != nil {
			log.Printf("%s: %v", file, err)
			return
		}
		if err := os.Rename(draft, file); err != nil {
			log.Printf("%s: %v", file, err)
		}
	})
}

// Takes a machine's file over from whoever wrote it: from now on it is what this vCenter knows of it.
func (center *vcenter) takeFile(at string) {
	if err := os.WriteFile(center.pathOf(at)+lock, []byte(center.identity()), 0o600); err != nil {
		log.Printf("%s: %v", at, err)
	}
}

func (center *vcenter) identity() string {
	return center.client.ServiceContent.About.InstanceUuid
}

func vmx(vm *simulator.VirtualMachine) string {
	var text strings.Builder
	say := func(key string, value any) {
		escaped := strings.NewReplacer("|", "|7C", `"`, "|22", "\n", "|0A").Replace(fmt.Sprint(value))
		fmt.Fprintf(&text, "%s = \"%s\"\n", key, escaped)
	}
	say("config.version", 8)
	say("displayName", vm.Name)
	say("guestOS", vm.Config.GuestId)
	say("numvcpus", vm.Config.Hardware.NumCPU)
	say("memSize", vm.Config.Hardware.MemoryMB)
	say("annotation", vm.Config.Annotation)
	say("uuid.bios", vm.Config.Uuid)
	say("vc.uuid", vm.Config.InstanceUuid)
	devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
	for number, one := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		disk := one.(*types.VirtualDisk)
		sayDisk(say, fmt.Sprintf("scsi0:%d", number), disk, path.Dir(vm.Config.Files.VmPathName)+"/")
	}
	for number, one := range devices.SelectByType((*types.VirtualEthernetCard)(nil)) {
		card := one.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		key := fmt.Sprintf("ethernet%d", number)
		if backing, ok := card.Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
			say(key+".networkName", backing.DeviceName)
			say(key+".generatedAddress", card.MacAddress)
		}
	}
	for _, option := range vm.Config.ExtraConfig {
		if one := option.GetOptionValue(); one.Key != "govcsim" {
			say(one.Key, one.Value)
		}
	}
	return text.String()
}

// Says a disk; one in the machine's own folder by its bare name, so that a copy of the folder has its own.
func sayDisk(say func(string, any), key string, disk *types.VirtualDisk, folder string) {
	if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
		say(key+".fileName", strings.TrimPrefix(backing.FileName, folder))
		say(key+".capacityKB", disk.CapacityInKB)
		say(key+".thin", isTrue(backing.ThinProvisioned))
		say(key+".uuid", backing.Uuid)
	}
}

func readVmx(text string) map[string]string {
	told := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		key, value, found := strings.Cut(line, " = ")
		if found {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			told[key] = strings.NewReplacer("|0A", "\n", "|22", `"`, "|7C", "|").Replace(value)
		}
	}
	return told
}

// Gives a machine that was just registered what its file tells.
func (center *vcenter) furnish(own *simulator.Context, vm *simulator.VirtualMachine, told map[string]string) types.BaseMethodFault {
	number := func(key string) int64 { value, _ := strconv.ParseInt(told[key], 10, 64); return value }
	spec := types.VirtualMachineConfigSpec{
		GuestId: told["guestOS"], NumCPUs: int32(number("numvcpus")), MemoryMB: number("memSize"),
		Annotation: told["annotation"], Uuid: told["uuid.bios"], InstanceUuid: told["vc.uuid"],
	}
	if center.identityTaken(own, spec.InstanceUuid) {
		spec.InstanceUuid = uuid.NewString() // as a vCenter does with a copy
	}
	devices := disksOf(told, path.Dir(vm.Config.Files.VmPathName))
	var lost []types.BaseVirtualDevice // ports in networks that this vCenter has not
	for _, card := range cardsOf(told) {
		backing := card.Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
		if center.network(own, backing.DeviceName) == nil {
			lost = append(lost, card)
		} else {
			devices = append(devices, card)
		}
	}
	for _, one := range devices {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: one,
		})
	}
	spec.ExtraConfig = restOf(told)
	began := vm.ReconfigVMTask(own, &types.ReconfigVM_Task{This: vm.Self, Spec: spec})
	if _, fault := await(own, began.(*methods.ReconfigVM_TaskBody).Res.Returnval); fault != nil {
		return fault
	}
	addLost(own, vm, lost)
	return nil
}

func (center *vcenter) identityTaken(own *simulator.Context, identity string) bool {
	return slices.ContainsFunc(own.Map.All("VirtualMachine"), func(one mo.Entity) bool {
		return one.(*simulator.VirtualMachine).Config.InstanceUuid == identity
	})
}

func disksOf(told map[string]string, folder string) []types.BaseVirtualDevice {
	controller := &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		SharedBus:         types.VirtualSCSISharingNoSharing,
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: 1000}},
	}}
	devices := []types.BaseVirtualDevice{controller}
	for number := range most {
		key := fmt.Sprintf("scsi0:%d", number)
		file, there := told[key+".fileName"]
		if !there {
			break
		}
		capacity, _ := strconv.ParseInt(told[key+".capacityKB"], 10, 64)
		if !strings.HasPrefix(file, "[") {
			file = folder + "/" + file
		}
		devices = append(devices, &types.VirtualDisk{
			CapacityInKB: capacity, CapacityInBytes: capacity << 10,
			VirtualDevice: types.VirtualDevice{
				Key: int32(2000 + number), ControllerKey: 1000, UnitNumber: unitOf(number),
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file},
					DiskMode:                     string(types.VirtualDiskModePersistent),
					ThinProvisioned:              types.NewBool(told[key+".thin"] == "true"),
					Uuid:                         told[key+".uuid"],
				},
			},
		})
	}
	return devices
}

// A SCSI controller takes the seventh place itself.
func unitOf(number int) *int32 {
	if number >= 7 {
		number++
	}
	return types.NewInt32(int32(number))
}

func cardsOf(told map[string]string) []*types.VirtualVmxnet3 {
	var cards []*types.VirtualVmxnet3
	for number := range most {
		key := fmt.Sprintf("ethernet%d", number)
		network, there := told[key+".networkName"]
		if !there {
			break
		}
		card := &types.VirtualVmxnet3{}
		card.Key = int32(4000 + number)
		card.MacAddress = told[key+".generatedAddress"]
		card.Backing = &types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: network},
		}
		cards = append(cards, card)
	}
	return cards
}

func restOf(told map[string]string) []types.BaseOptionValue {
	var rest []types.BaseOptionValue
	for key, value := range told {
		device := strings.HasPrefix(key, "scsi0:") || strings.HasPrefix(key, "ethernet")
		if !device && !slices.Contains(hardware, key) {
			rest = append(rest, &types.OptionValue{Key: key, Value: value})
		}
	}
	return rest
}

func addLost(own *simulator.Context, vm *simulator.VirtualMachine, lost []types.BaseVirtualDevice) {
	if len(lost) == 0 {
		return
	}
	own.WithLock(vm.Self, func() {
		for _, one := range lost {
			device := one.GetVirtualDevice()
			network := device.Backing.(*types.VirtualEthernetCardNetworkBackingInfo).DeviceName
			device.DeviceInfo = &types.Description{Label: fmt.Sprintf("ethernet-%d", device.Key-4000), Summary: network}
			device.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true}
		}
		all := append(slices.Clone(vm.Config.Hardware.Device), lost...)
		own.Update(vm, []types.PropertyChange{
			{Name: "config.hardware.device", Val: all},
			{Name: "summary.config.numEthernetCards", Val: vm.Summary.Config.NumEthernetCards + int32(len(lost))},
		})
	})
}
