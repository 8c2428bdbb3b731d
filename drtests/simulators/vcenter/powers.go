package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	labAnswers = 120 * time.Second
	// hostKeyOption is where a guest tells its SSH host key, as cloud-init of our templates does.
	hostKeyOption = "guestinfo.mainstay.ssh_host_key"
	disconnected  = "(disconnected)"
)

var ipv4 = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)

func (one *machine) PowerOnVMTask(ctx *simulator.Context, asked *types.PowerOnVM_Task) soap.HasFault {
	if one.Config.Template {
		return one.VirtualMachine.PowerOnVMTask(ctx, asked) // which refuses
	}
	task := one.center.begin(ctx, one, "PowerOnVM_Task", "powerOn", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, one.powerOn(own)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: task}}
}

func (one *machine) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "PowerOffVM_Task", "powerOff", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, one.powerOff(own, "off")
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: task}}
}

func (one *machine) ResetVMTask(ctx *simulator.Context, _ *types.ResetVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "ResetVM_Task", "reset", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := one.powerOff(own, "off"); fault != nil {
			return nil, fault
		}
		return nil, one.powerOn(own)
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: task}}
}

// Asks the guest to end, and answers before it has, as a real vCenter does.
func (one *machine) ShutdownGuest(ctx *simulator.Context, _ *types.ShutdownGuest) soap.HasFault {
	var fault types.BaseMethodFault
	if one.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		fault = &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: one.Runtime.PowerState,
		}
	} else if one.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		fault = &types.ToolsUnavailable{}
	}
	if fault != nil {
		return &methods.ShutdownGuestBody{Fault_: refusal(fault)}
	}
	one.center.begin(ctx, one, "ShutdownGuest", "shutdownGuest", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, one.powerOff(own, "down")
	})
	return &methods.ShutdownGuestBody{Res: &types.ShutdownGuestResponse{}}
}

// Powers on: the machine, the lab's host that stands for it, and then what tools in the guest would tell.
func (one *machine) powerOn(own *simulator.Context) types.BaseMethodFault {
	began := one.VirtualMachine.PowerOnVMTask(own, &types.PowerOnVM_Task{This: one.Self})
	if fault := faultOf(began); fault != nil {
		return fault
	}
	if _, fault := await(own, began.(*methods.PowerOnVM_TaskBody).Res.Returnval); fault != nil {
		return fault
	}
	key, fault := one.boot()
	if fault != nil {
		off := one.VirtualMachine.PowerOffVMTask(own, &types.PowerOffVM_Task{This: one.Self})
		_, _ = await(own, off.(*methods.PowerOffVM_TaskBody).Res.Returnval)
		return fault
	}
	own.WithLock(one.Self, func() { one.tellGuest(own, key) })
	one.center.writeFile(own, one.VirtualMachine)
	return nil
}

func (one *machine) powerOff(own *simulator.Context, how string) types.BaseMethodFault {
	if one.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		// The lab first, then the guest's word: a machine is never seen off while either lives.
		if fault := one.center.tellLab(one.Name, how, ""); fault != nil {
			return fault
		}
		own.WithLock(one.Self, func() {
			stopped := types.VirtualMachineToolsRunningStatusGuestToolsNotRunning
			one.tell(own, string(stopped), types.VirtualMachineToolsStatusToolsNotRunning, "", types.ManagedEntityStatusGray)
		})
	}
	began := one.VirtualMachine.PowerOffVMTask(own, &types.PowerOffVM_Task{This: one.Self})
	_, fault := await(own, began.(*methods.PowerOffVM_TaskBody).Res.Returnval)
	return fault
}

// Boots the lab's host if there is one, and gives the host key that the guest has.
func (one *machine) boot() (string, types.BaseMethodFault) {
	if _, named := one.center.Powers[one.Name]; named && one.center.Supervisor != "" {
		answer, err := one.center.askLab(one.Name, "on", one.firstNetwork())
		if err != nil {
			return "", labFault(err)
		}
		return answer.Result.HostKey, nil
	}
	if key := one.keptKey(); key != "" {
		return key, nil // it booted before
	}
	return newHostKey(), nil
}

func (one *machine) keptKey() string {
	for _, option := range one.Config.ExtraConfig {
		if value := option.GetOptionValue(); value.Key == hostKeyOption {
			return fmt.Sprint(value.Value)
		}
	}
	return ""
}

// Names the network of the first port; a port that is not connected at power on is in none of the lab's.
func (one *machine) firstNetwork() string {
	cards := object.VirtualDeviceList(one.Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(nil))
	for _, card := range cards {
		if port := card.GetVirtualDevice().Connectable; port != nil && !port.StartConnected {
			return disconnected
		}
		if backing, ok := card.GetVirtualDevice().Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
			return backing.DeviceName
		}
	}
	return ""
}

func (one *machine) tellGuest(own *simulator.Context, key string) {
	rest := []types.BaseOptionValue{}
	for _, option := range one.Config.ExtraConfig {
		if option.GetOptionValue().Key != hostKeyOption {
			rest = append(rest, option)
		}
	}
	if key != "" {
		rest = append(rest, &types.OptionValue{Key: hostKeyOption, Value: key})
	}
	own.Update(one.VirtualMachine, []types.PropertyChange{{Name: "config.extraConfig", Val: rest}})
	running := types.VirtualMachineToolsRunningStatusGuestToolsRunning
	one.tell(own, string(running), types.VirtualMachineToolsStatusToolsOk, one.address(), types.ManagedEntityStatusGreen)
}

func (one *machine) tell(own *simulator.Context, running string, tools types.VirtualMachineToolsStatus, address string, heart types.ManagedEntityStatus) {
	changes := []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: running},
		{Name: "guest.toolsStatus", Val: tools},
		{Name: "guest.ipAddress", Val: address},
		{Name: "guestHeartbeatStatus", Val: heart},
		{Name: "summary.guest.toolsRunningStatus", Val: running},
		{Name: "summary.guest.toolsStatus", Val: tools},
		{Name: "summary.guest.ipAddress", Val: address},
		{Name: "summary.quickStats.guestHeartbeatStatus", Val: heart},
	}
	if address != "" && one.Guest.HostName == "" {
		changes = append(changes, types.PropertyChange{Name: "guest.hostName", Val: one.Name})
	}
	if len(one.Guest.Net) > 0 {
		one.Guest.Net[0].IpAddress = nil
		if address != "" {
			one.Guest.Net[0].IpAddress = []string{address}
		}
		changes = append(changes, types.PropertyChange{Name: "guest.net", Val: one.Guest.Net})
	}
	own.Update(one.VirtualMachine, changes)
}

// Gives the guest's address: that of the lab's host, of its customization, of its cloud-init, or a made-up one.
func (one *machine) address() string {
	if host, named := one.center.Powers[one.Name]; named {
		return host.Address
	}
	for _, port := range one.Guest.Net {
		if port.IpConfig != nil && len(port.IpConfig.IpAddress) > 0 {
			return port.IpConfig.IpAddress[0].IpAddress
		}
	}
	for _, option := range one.Config.ExtraConfig {
		value := option.GetOptionValue()
		if value.Key != "guestinfo.metadata" {
			continue
		}
		text := fmt.Sprint(value.Value)
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
			text = string(plain)
		}
		if found := ipv4.FindString(text); found != "" {
			return found
		}
	}
	var number uint32
	_, _ = fmt.Sscanf(one.Self.Value, "vm-%d", &number)
	made := binary.BigEndian.AppendUint32(nil, 0xC6120000+number%(1<<17)) // 198.18.0.0/15, for benchmarks
	return net.IP(made).String()
}

func newHostKey() string {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	const kind = "ssh-ed25519"
	blob := append(binary.BigEndian.AppendUint32(nil, uint32(len(kind))), kind...)
	blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(public))), public...)
	return kind + " " + base64.StdEncoding.EncodeToString(blob)
}

// --- the lab --------------------------------------------------------------------------------------

type labAnswer struct {
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
	Result struct {
		HostKey string `json:"host_key"`
	} `json:"result"`
}

// Tells the lab that a machine has another power now; one without a host there is nobody's business.
func (center *vcenter) tellLab(name, power, network string) types.BaseMethodFault {
	if _, named := center.Powers[name]; !named || center.Supervisor == "" {
		return nil
	}
	if _, err := center.askLab(name, power, network); err != nil {
		return labFault(err)
	}
	return nil
}

func (center *vcenter) askLab(name, power, network string) (labAnswer, error) {
	var answer labAnswer
	connection, err := dial(center.Supervisor)
	if err != nil {
		return answer, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(labAnswers)); err != nil {
		return answer, err
	}
	request := map[string]string{
		"request": "power_machine", "lab_id": center.LabID, "simulator": center.Simulator,
		"machine": name, "power": power, "network": network,
	}
	if err := json.NewEncoder(connection).Encode(request); err != nil {
		return answer, err
	}
	line, err := bufio.NewReader(connection).ReadBytes('\n')
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(line, &answer); err != nil {
		return answer, err
	}
	if !answer.OK {
		return answer, fmt.Errorf("the lab refused: %s", answer.Error)
	}
	return answer, nil
}

// Connects through a descriptor of the folder: a socket's address holds 108 bytes, a path may be longer.
func dial(socket string) (net.Conn, error) {
	folder, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(socket)))
}

func labFault(err error) types.BaseMethodFault {
	log.Printf("lab: %v", err)
	return &types.GenericVmConfigFault{Reason: err.Error()}
}
