package main

import (
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const goneWithin = 5 * time.Second // in which govmomi deletes a machine's folder behind its task's back

// Destroys a machine that is off, with its own files; disks that were detached from it stay where they are.
func (one *machine) DestroyTask(ctx *simulator.Context, asked *types.Destroy_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "Destroy_Task", "destroy", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := one.destroyAlone(own, asked); fault != nil {
			return nil, fault
		}
		one.center.leaveAutostart(own, one.Self)
		return nil, one.center.tellLab(one.Name, "gone", "")
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (one *machine) destroyAlone(own *simulator.Context, asked *types.Destroy_Task) types.BaseMethodFault {
	one.center.naming.Lock() // the folder's name is free only when it is gone
	defer one.center.naming.Unlock()
	if own.Map.Get(one.Self) == nil {
		return &types.ManagedObjectNotFound{Obj: one.Self}
	}
	if state := one.Runtime.PowerState; state == types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state}
	}
	folder := filepath.Dir(one.center.pathOf(one.Config.Files.VmPathName))
	aside, err := one.setAside(folder)
	if err != nil {
		return &types.FileFault{File: folder}
	}
	began := one.VirtualMachine.DestroyTask(own, asked)
	_, fault := await(own, began.(*methods.Destroy_TaskBody).Res.Returnval)
	if fault == nil {
		awaitGone(folder)
	}
	if aside == "" {
		return fault
	}
	if err := bringBackFiles(aside, folder); err != nil {
		log.Printf("%s: %v", folder, err)
		return &types.FileFault{File: folder}
	}
	return fault
}

// Moves disks away that stand in the machine's folder and are not its own; gives where to, if there were any.
func (one *machine) setAside(folder string) (string, error) {
	own := map[string]bool{}
	for _, device := range one.Config.Hardware.Device {
		if backing, ok := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			file := one.center.pathOf(backing.GetVirtualDeviceFileBackingInfo().FileName)
			own[file], own[strings.TrimSuffix(file, ".vmdk")+"-flat.vmdk"] = true, true
		}
	}
	disks, err := filepath.Glob(filepath.Join(folder, "*.vmdk"))
	if err != nil {
		return "", err
	}
	aside := ""
	for _, disk := range disks {
		if own[disk] {
			continue
		}
		aside = folder + ".aside"
		if err := os.MkdirAll(aside, 0o700); err != nil {
			return "", err
		}
		if err := os.Rename(disk, filepath.Join(aside, filepath.Base(disk))); err != nil {
			return "", err
		}
	}
	return aside, nil
}

func bringBackFiles(aside, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(aside)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := os.Rename(filepath.Join(aside, file.Name()), filepath.Join(folder, file.Name())); err != nil {
			return err
		}
	}
	return os.Remove(aside)
}

func awaitGone(folder string) {
	for deadline := time.Now().Add(goneWithin); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(folder); os.IsNotExist(err) {
			return
		}
	}
	log.Printf("%s: not deleted after %s", folder, goneWithin)
}
